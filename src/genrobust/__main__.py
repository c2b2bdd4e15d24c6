"""python -m genrobust"""

from genrobust.cli import main

main()
