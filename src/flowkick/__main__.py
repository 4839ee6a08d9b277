"""``python -m flowkick`` is the command ``flowkick``."""

from flowkick.cli.main import main

main()
