"""Fine-tunes in processes of their own that a test can kill: ``finetune_once.py BASE OUT STEPS``.

Each line on standard input starts one, by a fork, since torch takes seconds to load; its id is printed, and its exit
code when it has ended.
"""

import os
import sys
from pathlib import Path

import small_training

base, out, steps = sys.argv[1:]
for _ in sys.stdin:
    child = os.fork()
    if not child:
        try:
            small_training.run(Path(base), Path(out), steps=int(steps))
        finally:
            os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
