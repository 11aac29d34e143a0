"""Runs the proofs for script/prove, and the mutants that show that each of them can fail.

Nothing here lists functions or storage by hand: the functions come from the ABI, the storage from the
compiler, the checks from the compiled tests, the mutants from their folder. A gap between them fails the run.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

# To prove one more contract: add it here, its checks as contracts/test/symbolic/<Contract>.*.sol in contracts
# named <Contract>…, and its mutants in contracts/test/mutants/<Contract>/.
# `each`: for each of these P and each state-changing function f of the ABI, a check_P_f must exist.
# `some`: for each of these P, at least one check_P… must exist.
# `unproven`: what `each` demands and Halmos does not decide; README.md says so. A check of it is an error.
CONTRACTS = {
    "AuditAnchor": {
        "each": ["I1", "I2", "Birth"],
        "some": ["I3", "I4", "Path", "Binding"],
    },
    "PolicyRegistry": {
        "each": ["I1", "Birth", "I4"],
        "some": ["Digest", "Verdict"],
    },
    "MCPAgentRegistry": {
        "each": ["I1", "Birth", "I4", "I5"],
        "some": ["Digest", "Scope", "Revival"],
    },
    "SmartAccount": {
        "each": ["I1", "I6"],
        "some": ["I4", "Change"],
        "unproven": ["check_I6_execute", "check_I6_validateUserOp"],
    },
}

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / "target" / "prove"
VENV_BIN = Path(sys.prefix) / "bin"
# Clock time, so with room for a loaded machine.
ASSERTION_TIMEOUT = "300s"
# Halmos gives up on a branch after 1 ms by default and then walks it in vain.
BRANCHING_TIMEOUT = "5s"
# The lengths of `bytes` where a check does not say otherwise: both forms of an ECDSA signature, none, and more.
HALMOS_TOML = '[global]\ndefault-bytes-lengths = "0,64,65,128"\n'
# One run of Halmos, over all checks of a contract or one mutant. Only a hang takes this long.
RUN_TIMEOUT = 7200
OUTCOMES = {0: "pass", 1: "counterexample", 2: "timeout", 3: "stuck", 4: "every path reverts", 5: "exception"}


class Failure(Exception):
    """Something that fails the whole run at once."""


def environment() -> dict[str, str]:
    system = platform.system().lower()
    arch = "amd64" if platform.machine() in ("x86_64", "AMD64") else "arm64"
    forge = ROOT / "node_modules" / "@foundry-rs" / f"forge-{system}-{arch}" / "bin"
    home = WORK / "home"
    home.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("FOUNDRY_", "DAPP_", "HALMOS_"))}
    return inherited | {
        "PATH": f"{forge}:{VENV_BIN}:{os.environ['PATH']}",
        # Halmos makes a folder for solvers in the home directory.
        "HOME": str(home),
        "FOUNDRY_PROFILE": "prove",
        "NO_COLOR": "1",
        "PYTHONWARNINGS": "ignore",
        # `git apply` would leave files alone that the repository around target/ ignores.
        "GIT_CEILING_DIRECTORIES": str(WORK),
    }


def sync(tree: Path) -> None:
    """Makes `tree` a project with the contracts, their proofs and the same compiler settings. Files that
    are the same keep their time stamps, so that forge compiles only what changed."""
    wanted = [ROOT / "foundry.toml", ROOT / "script" / "solc"]
    for folder in ("contracts", "contracts/interfaces", "contracts/libraries", "contracts/test/symbolic"):
        wanted += (ROOT / folder).glob("*.sol")
    paths = set()
    for source in wanted:
        target = tree / source.relative_to(ROOT)
        paths.add(target)
        content = source.read_bytes()
        if source.name == "foundry.toml":
            # Elsewhere forge does not compile the proofs, and so cannot lint them. Here it can.
            without = content.replace(b'ignore = ["contracts/test/symbolic/**/*"]\n', b"")
            if without == content:
                raise Failure("foundry.toml ignores the proofs in other words when linting: see sync()")
            content = without
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            shutil.copymode(source, target)
    for stray in (tree / "contracts").rglob("*.sol"):
        if stray not in paths:
            stray.unlink()
    (tree / "halmos.toml").write_text(HALMOS_TOML)
    if not (tree / "node_modules").is_symlink():
        (tree / "node_modules").symlink_to(ROOT / "node_modules")


def forge(tree: Path, *command: str) -> None:
    done = subprocess.run(["forge", *command], cwd=tree, env=environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"forge {command[0]} failed in {tree}:\n{done.stdout}{done.stderr}")


def build(tree: Path) -> None:
    forge(tree, "build", "--ast", "--extra-output", "storageLayout", "metadata")


def lint(tree: Path) -> None:
    """Elsewhere than the build, whose artifacts linting would overwrite with ones that have no bytecode."""
    forge(tree, "lint", "--deny", "notes", "--out", "lint/out", "--cache-path", "lint/cache")


def artifacts(tree: Path) -> dict[str, dict]:
    """Contract name to artifact, for everything under contracts/."""
    found = {}
    for path in sorted((tree / "out").glob("*.sol/*.json")):
        artifact = json.loads(path.read_text())
        target = artifact.get("metadata", {}).get("settings", {}).get("compilationTarget", {})
        for source, name in target.items():
            if source.startswith("contracts/"):
                found[name] = artifact
    return found


def layout(artifact: dict) -> set[str]:
    """The compiler's storage layout, a line for each variable, structs written out."""
    types = artifact["storageLayout"]["types"] or {}

    def written(key: str) -> str:
        entry = types[key]
        if "members" in entry:
            members = (f"{m['slot']}+{m['offset']} {m['label']} {written(m['type'])}" for m in entry["members"])
            return "{" + ", ".join(members) + "}"
        if "value" in entry:
            return f"mapping({written(entry['key'])} => {written(entry['value'])})"
        if "base" in entry:
            return f"{entry['label']} of {written(entry['base'])}"
        return re.sub(r"^\w+ \w+\.", "", entry["label"])

    storage = artifact["storageLayout"]["storage"]
    return {f"{v['slot']}+{v['offset']} {v['label']} {written(v['type'])}" for v in storage}


def covered_layout(name: str) -> set[str]:
    """The lines that the proofs of a contract say their state consists of."""
    lines = set()
    for path in (ROOT / "contracts/test/symbolic").glob(f"{name}*.sol"):
        lines |= set(re.findall(rf"@custom:covers {name} (.+)", path.read_text()))
    return {line.strip() for line in lines}


def state_changing(artifact: dict) -> list[str]:
    """Names of the functions of the ABI that may write, overloads once each."""
    return [f["name"] for f in artifact["abi"]
            if f["type"] == "function" and f["stateMutability"] not in ("view", "pure")] + [
            f["type"] for f in artifact["abi"] if f["type"] in ("fallback", "receive")]


def checks_of(name: str, built: dict[str, dict]) -> dict[str, str]:
    """Check name to the test contract that has it."""
    checks = {}
    for contract, artifact in built.items():
        if contract.startswith(name):
            for signature in artifact["methodIdentifiers"]:
                check = signature.split("(")[0]
                if check.startswith("check_"):
                    if check in checks:
                        raise Failure(f"two checks are named {check}")
                    checks[check] = contract
    return checks


def gaps(name: str, rules: dict, built: dict[str, dict], checks: dict[str, str]) -> list[str]:
    """What is not covered."""
    problems = []
    target = built[name]
    functions = state_changing(target)
    for twice in sorted({f for f in functions if functions.count(f) > 1}):
        problems.append(f"{name}.{twice} is overloaded: a check's name does not say which one it proves")
    text = "".join(p.read_text() for p in (ROOT / "contracts/test/symbolic").glob(f"{name}*.sol"))
    bodies = dict(re.findall(r"function (\w+)\((.*?)\n    }\n", text, re.S))
    # With what several checks share.
    bodies |= {f: body + "".join(bodies.get(helper, "") for helper in re.findall(r" (_assert\w+)\(", body))
               for f, body in bodies.items() if f.startswith("check_")}
    for function in functions:
        for prefix in rules["each"]:
            names = [c for c in checks if c == f"check_{prefix}_{function}"]
            if (f"check_{prefix}_{function}" in rules.get("unproven", ())) != (not names):
                there = "is there but named" if names else "is missing and not named"
                problems.append(f"check_{prefix}_{function} {there} as unproven")
            for check in names:
                body = bodies.get(check, "")
                # By itself, or by the helper of that name. What comes without data has no name.
                call = ', ""' if function == "receive" else f".{function},"
                if call not in body and not (f" _{function}(" in body and f".{function}," in text):
                    problems.append(f"{check} does not call {name}.{function}")
    for prefix in rules["some"]:
        if not any(c.startswith(f"check_{prefix}_") for c in checks):
            problems.append(f"{name} has no check_{prefix}_…")
    compiled, covered = layout(target), covered_layout(name)
    problems += [f"{name}: storage that no proof covers: {line}" for line in sorted(compiled - covered)]
    problems += [f"{name}: proofs cover storage that is not there: {line}" for line in sorted(covered - compiled)]
    return problems


def halmos(tree: Path, name: str, checks: list[str], *extra: str) -> dict[str, dict]:
    """Runs checks, and returns check name to Halmos' result."""
    output = tree / "halmos.json"
    output.unlink(missing_ok=True)
    names = "|".join(re.escape(c) for c in checks)
    command = [VENV_BIN / "halmos", "--match-contract", f"^{name}", "--match-test", rf"^({names})\(",
               "--solver-command", str(Path(__file__).with_name("solve")), "--solver-threads", "1",
               "--solver-timeout-branching", BRANCHING_TIMEOUT, "--solver-timeout-assertion", ASSERTION_TIMEOUT,
               "--no-status", "--json-output", output, *extra]
    with open(tree / "halmos.log", "w") as log:
        try:
            subprocess.run(command, cwd=tree, env=environment(), stdout=log, stderr=log, timeout=RUN_TIMEOUT)
        except subprocess.TimeoutExpired:
            return {}
    if not output.exists():
        raise Failure(f"Halmos wrote no result; see {tree / 'halmos.log'}")
    results = json.loads(output.read_text())["test_results"]
    return {r["name"].split("(")[0]: r for tests in results.values() for r in tests}


def verdict(result: dict | None) -> str:
    """`pass`, or why not."""
    if result is None:
        return "not run"
    if result["exitcode"] == 0 and result["num_bounded_loops"] != 0:
        return "loop bound too small"
    return OUTCOMES.get(result["exitcode"], f"exit code {result['exitcode']}")


def mutants_of(name: str) -> list[tuple[Path, list[str]]]:
    """Each mutant of a contract with the checks that must catch it."""
    found = []
    for path in sorted((ROOT / "contracts/test/mutants" / name).glob("*.patch")):
        catchers = re.findall(r"^Caught by: (.+)$", path.read_text(), re.M)
        found.append((path, " ".join(catchers).replace(",", " ").split()))
    return found


def kill(tree: Path, name: str, mutant: Path, catchers: list[str]) -> dict[str, str]:
    """Plants the bug, and returns check name to `caught` or why not."""
    sync(tree)
    applied = subprocess.run(["git", "apply", mutant], cwd=tree, env=environment(), capture_output=True, text=True)
    if applied.returncode != 0:
        return {check: f"patch does not apply: {applied.stderr.strip()}" for check in catchers}
    build(tree)
    outcome = {}
    if "layout" in catchers:
        gap = layout(artifacts(tree)[name]) != covered_layout(name)
        outcome["layout"] = "caught" if gap else "not caught"
    rest = [c for c in catchers if c != "layout"]
    if rest:
        results = halmos(tree, name, rest, "--early-exit")
        for check in rest:
            found = verdict(results.get(check))
            outcome[check] = "caught" if found == "counterexample" else f"not caught ({found})"
    return outcome


def prove(
    tree: Path, built: dict[str, dict], name: str, rules: dict, only: str, with_mutants: bool
) -> tuple[int, int]:
    """Proves one contract; returns the numbers of checks passed and failed."""
    known = checks_of(name, built)
    checks = [c for c in known if re.search(only, f"{name}.{c}")]
    if not known:
        raise Failure("there are no checks of it")
    if not checks:
        return 0, 0
    whole = len(checks) == len(known)

    problems = gaps(name, rules, built, known) if whole else []
    print(f"{name}: {len(checks)} checks", flush=True)
    results = halmos(tree, name, checks)

    caught: dict[str, list[str]] = {}
    if with_mutants:
        mutants = mutants_of(name)
        for path, catchers in mutants:
            problems += [f"{path.name} names {c}, which does not exist" for c in catchers if c not in known | {"layout": ""}]
            if not catchers:
                problems.append(f"{path.name} does not say what must catch it")
            todo = [c for c in catchers if c in checks or (c == "layout" and whole)]
            if todo:
                start = time.monotonic()
                for check, outcome in kill(WORK / "mutant", name, path, todo).items():
                    caught.setdefault(check, []).append(f"{path.stem}: {outcome}")
                    if outcome != "caught":
                        problems.append(f"{path.name}: {check}: {outcome}")
                print(f"mutant {path.stem}: {time.monotonic() - start:.0f} s", flush=True)

    width = max(map(len, checks))
    print(f"\n{'property':<{width}}  {'result':<22} {'seconds':>7}  mutants")
    passed = failed = 0
    for check in checks:
        result = results.get(check)
        found = verdict(result)
        seconds = f"{result['time'][0]:.1f}" if result and result.get("time") else ""
        fate = caught.get(check, [])
        if found != "pass":
            problems.append(f"{check}: {found}")
        if with_mutants and not fate:
            problems.append(f"{check}: no mutant shows that it can fail")
        good = found == "pass" and (not with_mutants or (fate and all(f.endswith(": caught") for f in fate)))
        passed, failed = passed + bool(good), failed + (not good)
        print(f"{check:<{width}}  {found:<22} {seconds:>7}  {', '.join(fate) or '-'}")
    # The gaps that belong to no single check count as one failure each.
    own = [p for p in problems if not any(p.startswith(f"{c}: ") or f": {c}: " in p for c in checks)]
    for problem in problems:
        print(f"FAILED {problem}")
    return passed, failed + len(own)


def main() -> int:
    parser = argparse.ArgumentParser(prog="script/prove")
    parser.add_argument("--only", default="", metavar="REGEX", help="of Contract.check_…")
    parser.add_argument("--no-mutants", action="store_true")
    arguments = parser.parse_args()
    start = time.monotonic()
    passed = failed = 0
    tree = WORK / "tree"
    sync(tree)
    try:
        build(tree)
        lint(tree)
    except Failure as failure:
        print(f"FAILED {failure}")
        return 1
    built = artifacts(tree)
    for name, rules in CONTRACTS.items():
        try:
            good, bad = prove(tree, built, name, rules, arguments.only, not arguments.no_mutants)
        except Failure as failure:
            print(f"FAILED {name}: {failure}")
            good, bad = 0, 1
        passed, failed = passed + good, failed + bad
    if passed + failed == 0:
        print(f"FAILED no check matches {arguments.only}")
        failed = 1
    print(f"\n{time.monotonic() - start:.0f} s in all")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
