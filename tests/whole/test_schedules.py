"""The schedules against the programs and schemas that would read them, and against each other."""

import configparser
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest
import yaml

from pipeline.nightly.config import read_config

ROOT = Path(__file__).parents[2]
SCHEDULES = ROOT / "jobs" / "schedules"
UNITS = ("vitrollout-nightly.service", "vitrollout-nightly.timer")
TOOLS = Path(sys.executable).parent
DOCKERFILE = SCHEDULES / "Dockerfile"
NIGHTLY = "vitrollout nightly /etc/vitrollout/nightly.toml"


def unit(name):
    parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read_string((SCHEDULES / name).read_text())
    return parser


def kubernetes_objects():
    return {it["kind"]: it for it in yaml.safe_load_all((SCHEDULES / "cronjob.yaml").read_text())}


@pytest.fixture
def cronjob():
    return kubernetes_objects()["CronJob"]["spec"]


@pytest.fixture
def job(cronjob):
    return cronjob["jobTemplate"]["spec"]


@pytest.fixture
def pod(job):
    return job["template"]["spec"]


@pytest.fixture
def container(pod):
    (only,) = pod["containers"]
    return only


@pytest.fixture
def config_files(tmp_path):
    """The configuration of a machine, and that of the cluster."""
    in_cluster = tmp_path / "nightly.toml"
    in_cluster.write_text(kubernetes_objects()["ConfigMap"]["data"]["nightly.toml"])
    return SCHEDULES / "nightly.toml", in_cluster


@pytest.fixture
def ends_with(tmp_path):
    """A folder with a `vitrollout` that logs what it was called with and ends with the given code."""

    def make(code):
        fake = tmp_path / "bin" / "vitrollout"
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f'#!/bin/sh\necho "vitrollout $*" >&2\nexit {code}\n')
        fake.chmod(0o755)
        return fake.parent

    return make


def folders(config_file):
    """What a night only reads, and where it writes."""
    config = tomllib.loads(config_file.read_text())
    archives = [config["defaults"] | archive for archive in config["archive"]]
    read = [PurePosixPath(archive[name]) for archive in archives for name in ("input", "model")]
    written = [PurePosixPath(archive["out"]) for archive in archives]
    if "metrics_file" in config:
        written.append(PurePosixPath(config["metrics_file"]).parent)
    return read, written


def inside(path, parents):
    return any(path.is_relative_to(parent) for parent in parents)


# --- the configuration


def test_the_configurations_are_valid(config_files):
    for file in config_files:
        config = read_config(file)
        assert config.stop_after is not None
        assert [archive.name for archive in config.archive] == ["cells"]


# --- systemd


def test_service_says_what_each_exit_code_is():
    service = unit("vitrollout-nightly.service")["Service"]
    assert service["Type"] == "oneshot"
    assert set(service["SuccessExitStatus"].split()) == {"3", "143"}
    assert (service["Restart"], service["RestartPreventExitStatus"]) == ("on-failure", "2")


def test_service_stops_the_main_process_first():
    service = unit("vitrollout-nightly.service")["Service"]
    assert (service["KillMode"], service["KillSignal"], service["TimeoutStopSec"]) == ("mixed", "SIGTERM", "2min")


def test_service_can_run_pytorch_and_its_decoders():
    service = unit("vitrollout-nightly.service")["Service"]
    assert "MemoryDenyWriteExecute" not in service  # oneDNN: "could not create a primitive"
    assert "ProcSubset" not in service
    assert "AF_UNIX" in service["RestrictAddressFamilies"].split()
    assert service["OOMPolicy"] == "continue"


def test_service_runs_the_command_offline_as_a_user_of_its_own():
    service = unit("vitrollout-nightly.service")["Service"]
    assert service["ExecStart"] == f"/opt/vitrollout/bin/{NIGHTLY}"
    assert "HF_HUB_OFFLINE=1" in service["Environment"].split()
    assert service["User"] == "vitrollout"


def test_service_may_write_where_the_configuration_says_and_waits_for_all_mounts(config_files):
    service = unit("vitrollout-nightly.service")
    read, written = folders(config_files[0])
    assert service["Service"]["ProtectSystem"] == "strict"
    writable = [path.lstrip("-") for path in service["Service"]["ReadWritePaths"].split()]
    assert all(inside(folder, writable) for folder in written)
    assert not any(inside(folder, writable) for folder in read)
    mounts = service["Unit"]["RequiresMountsFor"].split()
    archives = [PurePosixPath(it["out"]) for it in tomllib.loads(config_files[0].read_text())["archive"]]
    assert all(inside(folder, mounts) for folder in read + archives)


def test_timer_makes_up_for_missed_nights_and_can_be_enabled():
    timer = unit("vitrollout-nightly.timer")
    assert timer["Timer"]["Persistent"] == "true"
    assert "RandomizedDelaySec" in timer["Timer"]
    assert timer["Install"]["WantedBy"] == "timers.target"


@pytest.fixture
def installed_units(tmp_path):
    """The units with the path of a command that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: Debian's package systemd has it")
    for name in UNITS:
        text = (SCHEDULES / name).read_text()
        (tmp_path / name).write_text(text.replace("/opt/vitrollout/bin/vitrollout", str(TOOLS / "vitrollout")))
    return [str(tmp_path / name) for name in UNITS]


def test_systemd_finds_no_fault_in_the_units(installed_units):
    done = subprocess.run(["systemd-analyze", "verify", *installed_units], capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "vitrollout" in line]  # not of other units
    assert said == []


def test_systemd_finds_the_service_hardened(installed_units):
    # 0 is unexposed, 100 has no hardening at all; this one was at 10 with systemd 252
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", installed_units[0]],
        capture_output=True,
        text=True,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is too old for an offline check: 250 has it")
    assert done.returncode == 0, done.stdout


# --- cron


@pytest.fixture
def crontab():
    """Its variables, and its one job as five fields and a command."""
    lines = [line for line in (SCHEDULES / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    *settings, job = lines
    return dict(line.split("=", 1) for line in settings), job.split(maxsplit=5)


def test_crontab_has_five_fields_and_the_command(crontab):
    variables, (minute, hour, *days, command) = crontab
    assert {"MAILTO", "PATH", "HF_HUB_OFFLINE"} == set(variables)
    assert 0 <= int(minute) < 60
    assert 0 <= int(hour) < 24
    assert days == ["*"] * 3
    assert NIGHTLY in command
    assert not re.search(r"(?<!\\)%", command)  # cron would end the line there


@pytest.mark.parametrize("code", [0, 1, 2, 3, 75, 143])
def test_cron_prints_and_so_mails_only_what_is_no_success(crontab, ends_with, tmp_path, code):
    variables, (*_, command) = crontab
    path = variables["PATH"].replace("/opt/vitrollout/bin", str(ends_with(code)))
    done = subprocess.run(
        ["/bin/sh", "-c", command.replace(r"\%", "%")], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True
    )
    (log,) = tmp_path.glob("nightly-[1-7].log")
    assert log.read_text() == f"{NIGHTLY}\n"
    assert done.stderr == ""
    assert done.stdout == (f"vitrollout nightly: exit {code}\n{NIGHTLY}\n" if code else "")


# --- Kubernetes


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("kind", ["ConfigMap", "CronJob"])
def test_kubernetes_accepts_every_field(kind, version):
    kubernetes_validate.validate(kubernetes_objects()[kind], version, strict=True)


def test_cronjob_has_one_night_at_a_time_and_room_for_the_last_commit(cronjob, job, pod):
    assert cronjob["concurrencyPolicy"] == "Forbid"
    assert cronjob["startingDeadlineSeconds"] >= 10  # below, the controller may miss it altogether
    assert job["backoffLimit"] > 0
    assert pod["terminationGracePeriodSeconds"] >= 60


def test_cronjob_never_retries_a_wrong_configuration(job, pod, container):
    assert pod["restartPolicy"] == "Never"  # podFailurePolicy wants it
    wrong, disrupted = job["podFailurePolicy"]["rules"]
    codes = {"containerName": container["name"], "operator": "In", "values": [2]}
    assert wrong == {"action": "FailJob", "onExitCodes": codes}
    assert disrupted == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


@pytest.mark.parametrize(("code", "seen"), [(0, 0), (3, 0), (1, 1), (2, 2), (75, 75), (143, 143)])
def test_pod_ends_well_with_failed_images_and_keeps_every_other_code(container, ends_with, code, seen):
    command = [*container["command"], *container["args"]]
    assert command == ["tini", "-e", "3", "--", *shlex.split(NIGHTLY)]
    tini = shutil.which("tini")
    if tini is None:
        pytest.skip("no tini here: Debian's package tini has it")
    done = subprocess.run([tini, "-s", *command[1:]], env={"PATH": str(ends_with(code))}, capture_output=True)
    assert done.returncode == seen, done.stderr


def test_pod_has_no_rights_that_it_does_not_need(pod, container):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]


def test_pod_mounts_what_the_configuration_names(pod, container, config_files):
    mounts = container["volumeMounts"]
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in pod["volumes"]}
    read_only = [mount["mountPath"] for mount in mounts if mount.get("readOnly")]
    writable = [mount["mountPath"] for mount in mounts if not mount.get("readOnly")]
    read, written = folders(config_files[1])
    assert all(inside(folder, read_only) for folder in [*read, PurePosixPath(container["args"][-1])])
    assert all(inside(folder, writable) for folder in written)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (shared_memory,) = (volumes[mount["name"]] for mount in mounts if mount["mountPath"] == "/dev/shm")
    assert shared_memory["emptyDir"]["medium"] == "Memory"
    assert "/tmp" in writable  # the root file system isn't


# --- the image


def instructions():
    """The Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in re.split(r"(?<!\\)\n", text) if line.strip()]
    return [tuple(line.replace("\\\n", "").split(maxsplit=1)) for line in lines]


def test_hadolint_finds_no_fault_in_the_dockerfile():
    done = subprocess.run([TOOLS / "hadolint", "--no-color", DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_image_has_both_targets_and_cpu_is_the_default():
    stages = [words.split(" AS ")[1] for name, words in instructions() if name == "FROM"]
    assert {"cpu", "cuda"} < set(stages)
    assert stages[-1] == "cpu"


def test_image_passes_signals_on_and_runs_as_the_cronjobs_user(pod):
    found = instructions()
    assert ("ENTRYPOINT", '["tini", "--", "vitrollout"]') in found
    assert ("STOPSIGNAL", "SIGTERM") in found
    users = [words for name, words in found if name == "USER"]
    context = pod["securityContext"]
    assert users == [f"{context['runAsUser']}:{context['runAsGroup']}"] * 2


@pytest.mark.parametrize("extras", [["heif"], ["heif", "cloud", "ray"]])
def test_image_installs_all_dependencies_and_one_torch(tmp_path, extras):
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (command,) = (words for name, words in instructions() if name == "RUN" and "tomllib" in words)
    requirements = tmp_path / "requirements"
    command = command.replace("/requirements", str(requirements))
    environment = {"PATH": f"{TOOLS}:/usr/bin:/bin", "EXTRAS": ",".join(extras)}
    subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, env=environment, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [it for name in extras for it in project["optional-dependencies"][name]]
    assert ("ARG", "EXTRAS=heif") in instructions()
    assert (requirements / "all.txt").read_text().splitlines() == wanted
    assert re.fullmatch(r"torch==\S+\n", (requirements / "torch.txt").read_text())
    assert (requirements / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()


def test_what_docker_gets_to_see_is_enough_to_build_the_wheel(tmp_path):
    everything, *rest = (ROOT / ".dockerignore").read_text().split()
    assert everything == "*"
    context = tmp_path / "context"
    context.mkdir()
    for line in rest:
        if line.startswith("!"):
            source = ROOT / line[1:]
            copy = shutil.copytree if stat.S_ISDIR(source.stat().st_mode) else shutil.copy
            copy(source, context / source.name)
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist"],
        cwd=context,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"pipeline/run.py", "jobs/cli.py", "jobs/schedules/Dockerfile"} <= names
    assert [name for name in names if name.endswith("/licenses/LICENSE")]
    assert not [name for name in names if name.startswith(("tests", "work"))]
