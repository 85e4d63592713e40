"""The gate: is the candidate better than the model in use, and nowhere worse? And who may let it pass all the same."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.errors import ConflictError
from bot.learning import report
from bot.learning.report import Compared
from finetune.runs import RunConfig

if TYPE_CHECKING:
    from bot.learning.runs import Context

# What is no better does no harm: activating it by hand is the override. What harms asks for an explicit word.
WITHHELD = frozenset({"worse"})


def compare(run_dir: Path, config: RunConfig, context: "Context", on_progress: Callable[[int, int], None]) -> Compared:
    """Measures both models on the frozen sets and writes the report beside the candidate, in the run's folder that
    `Compared.folder` names.

    Writes an encoder's `calibration.json` there too. Raises FinetuneError where the disk refuses, ModelError where the
    candidate cannot be loaded on the base model.
    """
    found = _exam(config).compare(run_dir, config, context, on_progress)
    compared = Compared(
        **{name: getattr(found, name) for name in Compared.__slots__}
        | {
            "facts": {
                "adapter": run_dir.name,
                "kind": config.kind,
                "parent": context.parent,
                "base_model": config.base_name,
            }
        }
    )
    report.write(run_dir / compared.folder, compared)
    return compared


def expected_seconds(run_dir: Path, config: RunConfig, context: "Context") -> float:
    """What `compare` will take, of a candidate that is not there yet; tried for some seconds."""
    return float(_exam(config).expected_seconds(run_dir, config, context))


def _exam(config: RunConfig) -> Any:
    from bot.learning import encoder_exam, generator_exam

    return encoder_exam if config.kind == "encoder" else generator_exam


def admit(manifest: Mapping[str, Any], *, override: bool) -> dict[str, Any]:
    """What the audit keeps of an activation: the verdict, and whether it was overridden.

    Raises ConflictError `not_released` where the verdict withholds the adapter and nobody overrides it.
    """
    verdict = dict(manifest.get("verdict") or {})
    outcome = str(verdict.get("outcome") or "unknown")
    if outcome in ("better", "unknown"):
        return {"verdict": outcome}
    if outcome in WITHHELD and not override:
        raise ConflictError(
            "not_released",
            f"没有启用 {manifest['name']}：{verdict.get('zh', '')}管理员可以不顾这个结论启用（kefu adapters activate "
            "--override，接口字段 override），会记录在案",
            f"{manifest['name']} was not activated: {verdict.get('en', '')} An administrator may activate it all the "
            "same (kefu adapters activate --override, field `override`), on record",
        )
    return {"verdict": outcome, "overridden": True, "sentence": verdict.get("en", "")}
