"""Who takes part, each in an environment and a process of its own, and what one run of one of them gives."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from select import select
from typing import Any

import numpy as np
from problems import Instance, Params, Problem, Values, regrets

from frazil_tuner.space import Space

FOLDER = Path(__file__).parent / "peers"
ENVIRONMENTS = Path(sys.prefix) / "peers"
CACHE = Path(sys.prefix) / "bench"
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
}
PRESEARCH = 500
"""Random points that stand for the least value where nobody knows it."""


class Missing(Exception):
    """A peer that cannot take part here, and why."""


@dataclass(frozen=True, eq=False)
class Peer:
    """A tool as it is driven: a script of `peers/`, its options, and an environment of its own unless that is Frazil's.

    The environment is made of `peers/<environment>.txt`. `seeds` is how many it can afford beside the others.
    """

    name: str
    driver: str
    package: str
    options: Mapping[str, Any] = field(default_factory=dict)
    environment: str | None = None
    seeds: int = 10

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.environment is None else ENVIRONMENTS / self.environment / "bin" / "python"


OURS = Peer("frazil", "ours", "frazil-server", {"policy": {"name": "bayes"}})
PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("random", "ours", "frazil-server", {"policy": {"name": "random"}}),
        Peer("optuna-tpe", "with_optuna", "optuna", {"sampler": "TPESampler"}),
        Peer("optuna-gp", "with_optuna", "optuna", {"sampler": "GPSampler"}),
        Peer("ax", "with_ax", "ax-platform", environment="ax", seeds=3),
        Peer("smac", "with_smac", "smac", environment="smac", seeds=3),
        Peer("hebo", "with_hebo", "HEBO", environment="hebo", seeds=2),
        Peer("vizier", "with_vizier", "google-vizier", environment="vizier", seeds=1),
    )
}


@cache
def ready(peer: Peer) -> str:
    """Makes the peer's environment, unless it is there; the version of the peer in it. Raises `Missing`."""
    if peer.environment is not None:
        install(peer.environment)
    ask = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    done = subprocess.run([peer.python, "-c", ask], check=False, capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"{peer.package} is not in its environment: {last_line(done.stderr)}")
    return done.stdout.strip()


def install(environment: str) -> None:
    """torch goes first and by itself, as in the Makefile: only so does pip take the build meant for the machine."""
    folder, wanted = ENVIRONMENTS / environment, FOLDER / f"{environment}.txt"
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return
    print(f"Installing {environment} …", file=sys.stderr, flush=True)
    requirements = [line for line in wanted.read_text().splitlines() if line and not line.startswith("#")]
    first = [line for line in requirements if line.startswith("torch==")]
    pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    commands = [[sys.executable, "-m", "venv", folder], *([[*pip, *first]] if first else []), [*pip, *requirements]]
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise Missing(f"pip says: {last_line(done.stderr)}")
    stamp.write_text(wanted.read_text())


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[-1]


class Unsupported(Exception):
    """A task that the tool does not take, in the words of its driver."""


class Crashed(Exception):
    """The tool ended before its time, or took too much of it."""


@dataclass(frozen=True)
class Answer:
    """What a driver answers: the result, the CPU seconds it took, and the most memory its process ever held, bytes."""

    result: Any
    cpu: float
    peak: int


class Client:
    """The other end of `peers/protocol.py`."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process, self.log = process, log

    def call(self, limit: float | None = None, /, **request: Any) -> Answer:
        """One request with its answer, within so many seconds. Raises `Unsupported` and `Crashed`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        if not select([self.process.stdout], [], [], limit)[0]:
            raise Crashed(f"> {limit:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise Crashed(f"it ended with status {self.process.wait()}; its last words are in {self.log}")
        answer = json.loads(line)
        if "unsupported" in answer:
            raise Unsupported(answer["unsupported"])
        return Answer(answer.get("result", answer.get("versions")), answer["cpu"], answer["peak"])


@contextmanager
def started(peer: Peer, task: Mapping[str, Any], log: Path) -> Iterator[tuple[Client, Mapping[str, str]]]:
    """A driver's process at work on a task, and the versions it has; it ends with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [peer.python, FOLDER / f"{peer.driver}.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | ONE_THREAD,
        ) as process,
    ):
        client = Client(process, log)
        try:
            versions = client.call(task={**task, "options": peer.options}).result
            yield client, versions
        finally:
            process.kill()


@dataclass(frozen=True)
class Run:
    """One peer on one problem at one seed: the regret after each evaluation, and CPU seconds of ask and tell together.

    `recommended` has, for a noisy problem, the regret of the trial that the tool itself recommends, by evaluations.
    """

    peer: str
    problem: str
    seed: int
    regrets: Sequence[float]
    recommended: Mapping[str, float]
    cpu: Sequence[float]
    peak: int
    versions: Mapping[str, str]

    def regret(self, evaluations: int) -> float:
        return self.recommended.get(str(evaluations), self.regrets[evaluations - 1])


def task_of(problem: Problem, instance: Instance, seed: int, budget: int) -> dict[str, Any]:
    return {
        "space": instance.space,
        "objectives": problem.objectives,
        "constraints": problem.constraints,
        "seed": seed,
        "budget": budget,
    }


def run(peer: Peer, problem: Problem, seed: int, marks: Sequence[int], cache: Path) -> Run:
    """As many evaluations as the last of `marks`; at each of them a noisy problem's recommendation is asked for."""
    instance = problem.instance(seed)
    least = least_value(problem, instance, seed, cache)
    noise = np.random.default_rng([seed, 5])
    seen: list[Values] = []
    cpu: list[float] = []
    recommended: dict[str, float] = {}
    log = cache / "log" / f"{peer.name}-{problem.name}-{seed}.txt"
    with started(peer, task_of(problem, instance, seed, marks[-1]), log) as (client, versions):
        while len(seen) < marks[-1]:
            count = min(problem.batch, marks[-1] - len(seen))
            asked = client.call(ask=count)
            outcomes = [instance.outcomes(params) for params in asked.result]
            told = client.call(tell=[noisy(values, problem.noise, noise) for values in outcomes])
            seen += outcomes
            cpu.append(asked.cpu + told.cpu)
            if problem.noise and len(seen) in marks:
                chosen = instance.outcomes(client.call(recommend=None).result)
                recommended[str(len(seen))] = regret_of(problem, instance, least, chosen)
    curve = regrets(problem, instance, least, seen)
    return Run(peer.name, problem.name, seed, curve.tolist(), recommended, cpu, told.peak, versions)


def regret_of(problem: Problem, instance: Instance, least: float, values: Values) -> float:
    return float(regrets(problem, instance, least, [values])[0])


def noisy(values: Values, deviation: float, rng: np.random.Generator) -> Values:
    return {metric: value + deviation * float(rng.standard_normal()) for metric, value in values.items()}


def least_value(problem: Problem, instance: Instance, seed: int, cache: Path) -> float:
    """What regret is measured against: the known least value, or the best of a random search, made once."""
    if instance.least is not None:
        return instance.least
    file = cache / "presearch" / f"{problem.name}-{fingerprint(problem, instance)}-{seed}.json"
    if not file.exists():
        space = Space.from_json([dict(parameter) for parameter in instance.space])
        rng = np.random.default_rng([seed, 6])
        (metric,) = problem.objectives
        save(file, {"least": min(instance.outcomes(space.draw(rng))[metric] for _ in range(PRESEARCH))})
    return float(json.loads(file.read_text())["least"])


def kept(peer: Peer, problem: Problem, seed: int, marks: Sequence[int], cache: Path) -> Run:
    """As `run`, but made only once for each version of the peer and of the problem."""
    version = ready(peer)
    instance = problem.instance(seed)
    folder = cache / f"{peer.name}-{version}" / f"{problem.name}-{fingerprint(problem, instance)}"
    file = folder / f"{seed}-{'-'.join(map(str, marks))}.json"
    if not file.exists():
        save(file, asdict(run(peer, problem, seed, marks, cache)))
    return Run(**json.loads(file.read_text()))


def fingerprint(problem: Problem, instance: Instance) -> str:
    """Changes with the space, with what is told, and with the outcomes at three points."""
    space = Space.from_json([dict(parameter) for parameter in instance.space])
    rng = np.random.default_rng(0)
    points: list[Params] = [space.draw(rng) for _ in range(3)]
    outcomes = [{metric: f"{value:.6g}" for metric, value in instance.outcomes(point).items()} for point in points]
    told = [instance.space, outcomes, problem.noise, problem.batch, instance.least, PRESEARCH]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def save(file: Path, content: Any) -> None:
    """All or nothing, so that a benchmark may be interrupted at any moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps(content))
    draft.replace(file)
