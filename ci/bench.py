"""What ci/bench measures of `firedrill watch` and of saved runs:
  bench.py probes NATS_PORT MONITOR_PORT PROFILE    probes of the firedrill on the PATH, which was built with this profile
  bench.py runs RUN_FOLDER...                       what saved runs took beyond what they waited for

Every wait has a limit; a program that fails, or that does not come in time, ends this with exit code 1."""

import json, os, resource, socket, subprocess, sys, time

GRACE_S = 30  # beyond what a program was told to take


def row(name, goal, figure):
    """The form that ci/record reads."""
    print(f"{name} (goal: {goal}): {figure}", flush=True)


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
    try:
        with open(os.path.join(run, "events.jsonl")) as journal:
            records = [json.loads(line) for line in journal]
    except (OSError, ValueError) as error:
        sys.exit(f"error: {run}: {error}")
    started, took = {}, {}
    for record in records:
        event = record["event"]
        if "phase_started" in event:
            started[event["phase_started"]["phase"]] = record["at"]
        elif "phase_ended" in event:
            phase = event["phase_ended"]["phase"]
            took[phase] = (record["at"] - started[phase]) / 1e6
    begun = records[0]["event"]["run_started"]
    name = f"{begun['scenario']['name']}/{begun['variant']}" if "variant" in begun else begun["scenario"]["name"]
    total = records[-1]["at"] / 1e6
    hold = begun["scenario"]["steady_state"]["hold"] / 1e3
    needed = hold + sum(took.get(p, 0) for p in ("inject", "effect", "detect", "recover", "sustained-ok", "redundancy", "backlog"))
    row(f"`{name}`, whole time over fault, recovery and mandated windows", "1.1",
        f"{total / needed:.2f} ({total:.1f} s over {needed:.1f} s; " + ", ".join(f"{p} {s:.1f}" for p, s in took.items()) + ")")
    if "steady-state" in took:
        row(f"`{name}`, steady state over the time for which it must hold", "1.1",
            f"{took['steady-state'] / hold:.2f} ({took['steady-state']:.1f} s over {hold:.1f} s)")


def probes(nats_port, monitor_port, profile):
    seconds = 20
    nats = f"nats://127.0.0.1:{nats_port}"
    seen, cpu, memory = watch("--nats", nats, "--every", "1ms", "--connection", "reused", seconds=seconds)
    row(f"1,000 samples/s on a kept connection, {profile} profile", "5 % of a core with release, 40 MiB",
        f"{100 * cpu / seconds:.1f} % of a core, {memory:.1f} MiB, {seen['samples']} samples, {seen['stalls']} missed")
    every_ms, series = 100, 200
    urls = ["--http", f"http://127.0.0.1:{monitor_port}/healthz"] * series
    seen, cpu, _ = watch(*urls, "--every", f"{every_ms}ms", "--connection", "reused", seconds=seconds)
    row(f"{series} probes at 10/s, {profile} profile", "no missed turn",
        f"{seen['stalls']} of {seen['samples']} missed, {100 * cpu / seconds:.1f} % of a core")
    firsts = sorted(first_sample_ms() for _ in range(7))
    row(f"start to first sample, {profile} profile", "30 ms",
        f"median {firsts[3]:.1f} ms, {firsts[0]:.1f} to {firsts[-1]:.1f}")


match sys.argv[1:]:
    case ["probes", nats_port, monitor_port, profile]:
        try:
            probes(nats_port, monitor_port, profile)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            sys.exit(f"error: {error}")
    case ["runs", first, *others]:
        for run in [first, *others]:
            overhead(run)
    case _:
        sys.exit(__doc__)
