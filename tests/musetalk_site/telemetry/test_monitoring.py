"""Dashboard and alert rules, as the tools of Prometheus and Grafana read them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MONITORING = ROOT / "docs" / "monitoring"
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing: Debian's package prometheus brings it"
)


def panels() -> list[dict[str, Any]]:
    return list(json.loads((MONITORING / "dashboard.json").read_text())["panels"])


def check(rules: Path) -> None:
    assert PROMTOOL is not None
    said = subprocess.run([PROMTOOL, "check", "rules", rules], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


@needs_promtool
def test_prometheus_reads_the_alert_rules() -> None:
    check(MONITORING / "alerts.yaml")


@needs_promtool
def test_prometheus_reads_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    rules = [{"record": f"asked:{number}", "expr": expr} for number, expr in enumerate(asked)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    check(file)


SPEECH = "talking_avatar_audio_to_frame_seconds_bucket"


@needs_promtool
@pytest.mark.parametrize(("fast", "is_alert"), [(70, True), (99, False)])
def test_slow_speech_is_an_alert(tmp_path: Path, fast: int, is_alert: bool) -> None:
    """Of 100 utterances a minute ``fast`` begin within 640 ms after their sound came."""
    labels = {"severity": "warning", "instance": "a"}
    annotations = {"summary": "5 % of the utterances on a begin over 640 ms after their sound came"}
    alert = {"exp_labels": labels, "exp_annotations": annotations}
    test = {
        "rule_files": [str(MONITORING / "alerts.yaml")],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": f'{SPEECH}{{instance="a", le="0.64"}}', "values": f"0+{fast}x20"},
                    {"series": f'{SPEECH}{{instance="a", le="1.28"}}', "values": "0+100x20"},
                    {"series": f'{SPEECH}{{instance="a", le="+Inf"}}', "values": "0+100x20"},
                ],
                "alert_rule_test": [
                    {
                        "eval_time": "15m",
                        "alertname": "AvatarSpeechSlow",
                        "exp_alerts": [alert] if is_alert else [],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    assert PROMTOOL is not None
    said = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_panels_do_not_overlap() -> None:
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels()]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in panels()}) == len(places)


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    table = (ROOT / "docs" / "operations.md").read_text()
    for rule in rules:
        assert f"| `{rule['alert']}` |" in table, rule["alert"]
