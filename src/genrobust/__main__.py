"""The program: genrobust, or python -m genrobust."""

import sys


def main() -> None:
    """Run the command line, and exit; a signal ends the imports, too, with a message."""
    from genrobust.core import raise_at_signals, report_interrupt

    raise_at_signals()
    try:
        from genrobust.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(report_interrupt())


if __name__ == "__main__":
    main()
