"""What went wrong, told to the user: the library raises these, the command line prints them."""


class GenrobustError(Exception):
    """A failure while working (exit code 1). The message names the thing, the place and what to do next."""

    exit_code = 1


class UserError(GenrobustError):
    """A mistake in what the user asked for or handed in: a recipe, a folder, an image (exit code 2)."""

    exit_code = 2


class DiskFull(GenrobustError):
    """There is no room to write; what was written before is whole."""


class MissingPackage(UserError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(f"{why} needs the package {package}, which is not installed: pip install 'genrobust[{extra}]'")
