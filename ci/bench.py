"""What ci/bench measures of `firedrill watch` and of a saved run:  bench.py NATS_PORT [RUN_FOLDER]

Every wait has a limit; a program that fails, or that does not come in time, ends this with exit code 1."""

import json, os, resource, socket, subprocess, sys, time

GRACE_S = 30  # beyond what a program was told to take


def watch(*arguments, seconds):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["firedrill", "watch", *arguments, "--for", f"{seconds}s", "--output", "json"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds + GRACE_S).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(out.splitlines()[-1]), cpu, after.ru_maxrss / 1024


def first_sample_ms():
    """From the start of the program to its first connection, in milliseconds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # a fresh one: no attempt of the run before waits in it
        listener.settimeout(0.2)
        command = ["firedrill", "watch", "--tcp", "127.0.0.1:%d" % listener.getsockname()[1], "--every", "50ms",
                   "--for", "200ms", "--sustained", "100ms", "--output", "json"]
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while True:
                try:
                    listener.accept()
                    break
                except TimeoutError:
                    if child.poll() is not None:
                        sys.exit(f"error: firedrill watch ended without a connection (exit {child.returncode})")
                    if time.monotonic() - start > GRACE_S:
                        sys.exit(f"error: firedrill watch made no connection within {GRACE_S} s")
            took = 1000 * (time.monotonic() - start)
            status = child.wait(timeout=GRACE_S)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if status != 0:
        sys.exit(f"error: firedrill watch ended with exit {status}")
    return took


def overhead(run):
    with open(os.path.join(run, "events.jsonl")) as journal:
        records = [json.loads(line) for line in journal]
    started, took = {}, {}
    for record in records:
        event = record["event"]
        if "phase_started" in event:
            started[event["phase_started"]["phase"]] = record["at"]
        elif "phase_ended" in event:
            phase = event["phase_ended"]["phase"]
            took[phase] = (record["at"] - started[phase]) / 1e6
    total = records[-1]["at"] / 1e6
    hold = records[0]["event"]["run_started"]["scenario"]["steady_state"]["hold"] / 1e3
    needed = hold + sum(took.get(p, 0) for p in ("inject", "effect", "detect", "recover", "sustained-ok", "redundancy", "backlog"))
    print(f"a drill's time over fault, recovery and mandated windows (goal: 1.05): {total / needed:.2f} "
          f"({total:.1f} s over {needed:.1f} s; " + ", ".join(f"{p} {s:.1f}" for p, s in took.items()) + ")")


def main():
    nats = f"nats://127.0.0.1:{sys.argv[1]}"
    seconds = 20
    try:
        seen, cpu, memory = watch("--nats", nats, "--every", "1ms", "--connection", "reused", seconds=seconds)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.exit(f"error: {error}")
    print(f"1,000 samples/s on a reused connection (goals: 5 % of a core, 40 MiB): "
          f"{100 * cpu / seconds:.1f} % of a core, {memory:.1f} MiB, {seen['samples']} samples, {seen['stalls']} stalled", flush=True)
    firsts = sorted(first_sample_ms() for _ in range(7))
    print(f"start to first sample (goal: 30 ms): median {firsts[3]:.1f} ms, {firsts[0]:.1f} to {firsts[-1]:.1f}", flush=True)
    if len(sys.argv) > 2 and sys.argv[2]:
        overhead(sys.argv[2])


main()
