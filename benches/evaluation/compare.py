"""Times whole processes in turns: python compare.py ROUNDS NAME=COMMAND ...

Prints the median, the lowest and the highest wall-clock time, the median CPU time and the highest
resident memory of each, and how many times as long as the first each takes.
"""

import os
import resource
import shlex
import statistics
import subprocess
import sys
import time

rounds, commands = int(sys.argv[1]), dict(argument.split("=", 1) for argument in sys.argv[2:])
times = {name: [] for name in commands}
for turn in range(rounds):
    for name, command in commands.items():
        start = time.perf_counter()
        child = subprocess.Popen(shlex.split(command), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0, f"{name} failed"
        cpu = usage.ru_utime + usage.ru_stime
        times[name].append((time.perf_counter() - start, cpu, usage.ru_maxrss))
        print(turn, name, f"{times[name][-1][0]:.3f} s", file=sys.stderr, flush=True)
base = None
print("| | median s | min | max | CPU s | peak MB | times the first |\n|---|---:|---:|---:|---:|---:|---:|")
for name, rows in times.items():
    wall = [row[0] for row in rows]
    median = statistics.median(wall)
    base = base or median
    cpu = statistics.median(row[1] for row in rows)
    peak = max(row[2] for row in rows) / 1024
    print(f"| {name} | {median:.3f} | {min(wall):.3f} | {max(wall):.3f} | {cpu:.2f} | {peak:.0f} "
          f"| {median / base:.1f} |")
