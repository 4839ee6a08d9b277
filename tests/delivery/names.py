"""Name servers of the tests' own."""

from __future__ import annotations

from collections.abc import Sequence


class Names:
    """A name server of the test's own, which gives each answer once and then the last one."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)

    async def __call__(self, _host: str, _port: int) -> Sequence[str]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer
