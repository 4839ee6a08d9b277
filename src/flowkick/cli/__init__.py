"""The command ``flowkick``."""
