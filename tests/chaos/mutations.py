"""Promises broken on purpose, one at a time: ``python -m tests.chaos.mutations``.

Each is tried in a copy of the repository and must turn a test red: one that stays green guards nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS, SERVERS, FAILURES, POWER = (
    f"tests/chaos/test_{name}.py" for name in ("kills", "servers", "failures", "power")
)
RUNS, MACHINE = "tests/jobs/test_claims.py", "tests/jobs/test_claims_machine.py"
SUPERVISOR = "tests/workers/test_supervisor.py"
REQUESTS = "tests/api/test_requests.py"
KEYS, SESSIONS = "tests/api/test_api_keys.py", "tests/api/test_session.py"
AUDIT, LIMITS = "tests/api/test_audit.py", "tests/api/test_limits.py"
QUOTAS = "tests/services/test_key_quotas.py"
PROCESSES = "tests/launch/test_two_processes.py"
PIECES = "tests/api/test_resumable_uploads.py"
MLFLOW = "tests/jobs/test_mlflow_runs.py"
DELIVERIES, OUTGOING = "tests/jobs/test_webhook_deliveries.py", "tests/host/test_outgoing.py"
CONNECTIONS = "tests/launch/test_connections.py"
REAPER, REAPER_THREAD = "tests/jobs/test_reaper.py", "tests/workers/test_reaper_thread.py"

CONVERSION = "tests/training/test_conversion.py"


@dataclass(frozen=True)
class Edit:
    """In ``file`` the text ``before``, which is there once, becomes ``after``."""

    file: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutation:
    """What is broken, how, and the arguments of pytest that must notice."""

    what: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def notices(self) -> str:
        """The test's file as the table names it."""
        path, _, _ = self.tests[0].partition("::")
        return f"`{path.removeprefix('tests/').removesuffix('.py')}`"


def _one(what: str, file: str, before: str, after: str, *tests: str) -> Mutation:
    return Mutation(what, (Edit(file, before, after),), tests)


MUTATIONS = (
    _one(
        "a worker's write without the check of its fence",
        "app/jobs/claims.py",
        '        .where(Job.id == claim.job_id, Job.fence == claim.fence, Job.status == "running")\n',
        '        .where(Job.id == claim.job_id, Job.status == "running")\n',
        RUNS,
    ),
    _one(
        "a claim of a job whose lease is good",
        "app/jobs/claims.py",
        "                    Job.lease_until < now,\n",
        "",
        f"{KILLS}::test_delivered_ten_times_to_several_workers_a_job_runs_once",
    ),
    Mutation(
        "a job that succeeded may be retried",
        (
            Edit(
                "app/services/job_lifecycle.py",
                '        if job.status != "failed":\n            raise',
                "        if False:\n            raise",
            ),
            Edit(
                "app/services/job_states.py", '"succeeded": frozenset(', '"succeeded": frozenset({"queued"}'
            ),
        ),
        (MACHINE,),
    ),
    _one(
        "no limit to the attempts",
        "app/jobs/claims.py",
        "        is_last = job.attempts_without_checkpoint >= max_attempts\n",
        "        is_last = False\n",
        RUNS,
    ),
    _one(
        "a cancel that does not win over the end",
        "app/jobs/claims.py",
        "    job = hold(session, claim)\n    if job.cancel_requested:\n",
        "    job = hold(session, claim)\n    if False:\n",
        RUNS,
    ),
    _one(
        "an end that cannot be repeated after an outage",
        "app/jobs/kinds/training.py",
        "    if result.artifact is not None and not model_folder.exists():\n",
        "    if result.artifact is not None:\n",
        RUNS,
    ),
    _one(
        "a running job without a lease is skipped",
        "app/jobs/reaper.py",
        "            expired = job.lease_until is None or job.lease_until < now\n",
        "            expired = job.lease_until is not None and job.lease_until < now\n",
        REAPER,
    ),
    _one(
        "leases believed right after an outage",
        "app/workers/reaper_thread.py",
        "            trust_expiry=well_for > 2 * self._context.settings.lease_seconds,\n",
        "            trust_expiry=well_for >= 0,\n",
        REAPER_THREAD,
    ),
    _one(
        "waiting jobs announced without bound",
        "app/jobs/reaper.py",
        "stale[: max(0, len(jobs) - length)]",
        "stale",
        REAPER,
    ),
    Mutation(
        "nothing announced again, nothing taken from the database",
        (
            Edit(
                "app/workers/reaper_thread.py",
                "        announced = reaper.announce_unclaimed_jobs(self._context)\n",
                "        announced = 0\n",
            ),
            Edit("app/workers/poll_thread.py", "if now - since >= PATIENCE_SECONDS:", "if now < since:"),
        ),
        (f"{SERVERS}::test_redis_may_come_and_go_while_jobs_run_and_are_submitted",),
    ),
    _one(
        "a submit fails without Redis",
        "app/job_queue.py",
        '            logger.warning("job %s is stored; Redis does not answer',
        '            raise ConnectionError("%s',
        f"{SERVERS}::test_redis_may_come_and_go_while_jobs_run_and_are_submitted",
    ),
    _one(
        "a supervisor that does not sit out an outage of the database",
        "app/workers/supervisor.py",
        "OUTAGES = (UnavailableError, StorageFullError)\n",
        "OUTAGES: tuple[type[UnavailableError], ...] = ()\n",
        f"{SERVERS}::test_postgresql_may_restart_and_lose_connections_while_jobs_run",
    ),
    _one(
        "checkpoints without the states of random generators",
        "app/training/fit.py",
        '{"model": self.model.variables,',
        '{"model": self.model.weights,',
        f"{KILLS}::test_killed_at_random_times_a_training_ends_with_the_same_weights",
    ),
    _one(
        "a resume that leaves the optimizer as new",
        "app/training/fit.py",
        "in self._variables().items():\n            for variable,",
        'in {"model": self.model.variables}.items():\n            for variable,',
        f"{KILLS}::test_killed_in_each_phase_a_fine_tuning_ends_with_the_same_weights",
        "--chaos-n=1",
    ),
    _one(
        "steps that nobody had read are not reported again",
        "app/training/pipeline.py",
        "    if spec.reported_step is not None:\n",
        "    if False:\n",
        f"{KILLS}::test_killed_at_every_named_point_a_training_ends_with_the_same_weights",
    ),
    _one(
        "no checkpoint on SIGTERM",
        "app/training/fit.py",
        "    def _release(self) -> None:\n",
        "    def _release(self) -> None:\n        raise Released\n\n    def _never(self) -> None:\n",
        f"{KILLS}::test_told_to_end_it_loses_no_step",
    ),
    _one(
        "`Last-Event-ID` ignored",
        "app/api/job_records.py",
        "_event_number(last_event_id if last_event_id is not None else after)",
        "_event_number(after)",
        f"{KILLS}::test_killed_at_random_times_a_training_ends_with_the_same_weights",
    ),
    _one(
        "digests of a checkpoint not compared",
        "app/training/checkpoints.py",
        '    if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:\n',
        '    if len(data) != entry["bytes"]:\n',
        "tests/training/test_checkpoints.py",
        f"{FAILURES}::test_a_flipped_bit_in_a_checkpoint_is_noticed_and_the_one_before_is_used",
    ),
    _one(
        "digests of a model's files not compared",
        "app/artifacts/folder.py",
        "    if found.sha256 != expected.sha256:\n",
        "    if False:\n",
        f"{FAILURES}::test_a_flipped_bit_in_a_model_is_noticed_and_never_served",
    ),
    _one(
        "a model that a training starts from believed without its digest",
        "app/jobs/kinds/training.py",
        "                initial_model_digest=model.digest if model else None,\n",
        "",
        "tests/jobs/test_models_read.py",
    ),
    _one(
        "a foreign host answered without a key",
        "app/api/sites.py",
        "            if not self._is_answered(host):\n",
        "            if False:\n",
        "tests/api/test_sites.py::test_without_a_key_only_loopback_names_are_answered",
    ),
    _one(
        "a web page of another site that changes something",
        "app/api/sites.py",
        "not self._may_write(scope, headers)",
        "False",
        "tests/api/test_sites.py::test_no_route_lets_a_foreign_page_change_anything",
    ),
    _one(
        "a Redis that its clients may administer",
        "app/launch/redis_server.py",
        ', "-@admin", "-@dangerous"',
        "",
        "tests/launch/test_redis_server.py::test_its_clients_administer_nothing",
    ),
    _one(
        "an old Redis taken before one without its hole",
        "app/launch/redis_versions.py",
        "return not self.has_lua_hole, ",
        "return True, ",
        "tests/launch/test_redis_server.py",
    ),
    _one(
        "one client takes the memory for the images of all",
        "app/images/memory_budget.py",
        "self._most_each = total // 2",
        "self._most_each = total",
        "tests/api/test_predict_limits.py",
    ),
    _one(
        "a refusal that is cut off while the client sends",
        "app/launch/http_protocol.py",
        "if self._is_reading_body and not self._is_deaf and not self.transport.is_closing():",
        "if False:",
        "tests/launch/test_refusals.py",
    ),
    _one(
        "an upload that was cut off kept for ever",
        "app/workers/reaper_thread.py",
        "            garbage.clean_scratch(self._context)\n",
        "",
        "tests/workers/test_reaper_thread.py",
    ),
    _one(
        "a full disk tried again at once",
        "app/workers/supervisor.py",
        '        if error["retryable"] and error["code"] not in WAIT_FOR_A_PERSON:\n',
        '        if error["retryable"]:\n',
        f"{FAILURES}::test_a_full_disk_is_named_and_the_job_goes_on_once_there_is_space",
        "--chaos-n=5",
    ),
    _one(
        "two pieces of an upload at one offset that both count",
        "app/services/resumable_uploads.py",
        "        require_offset(to_schema(row), upload.offset)\n",
        "",
        PIECES,
        "-ktwo_pieces",
    ),
    _one(
        "an upload that another key finds",
        "app/services/resumable_uploads.py",
        "    return is_own, Upload.expires_at > utc_now()\n",
        "    return Upload.expires_at > utc_now(), Upload.expires_at > utc_now()\n",
        PIECES,
        "-kits_key_alone",
    ),
    _one(
        "a piece that counts before other hosts have it",
        "app/services/resumable_uploads.py",
        "    context.storage.remote.upload(piece)\n",
        "",
        PIECES,
        "-kanother_host",
    ),
    _one(
        "an upload imported once for each time it is asked for",
        "app/services/upload_imports.py",
        "        row.dataset_id = dataset.id\n",
        "",
        PIECES,
        "-kthe_whole_archive",
    ),
    _one(
        "pieces of an upload that goes on swept up",
        "app/jobs/garbage.py",
        '        needed = {f"{PIECES}{upload}" for upload in going_on}\n',
        "        needed = set()\n",
        PIECES,
        "-knobody_goes_on",
    ),
    _one(
        "what came before a cut forgotten",
        "app/api/resumable_uploads.py",
        "            await run_in_threadpool(piece.keep)\n            raise\n",
        "            raise\n",
        "tests/launch/test_resumable_uploads.py",
        "-kbefore_a_cut",
    ),
    _one(
        "an upload not synced",
        "app/services/datasets.py",
        "    sync(upload)\n    sync(upload.parent)\n",
        "",
        POWER,
    ),
    _one(
        "imported images not synced",
        "app/datasets/importer.py",
        "        os.sync()  #",
        "        #",
        POWER,
    ),
    _one(
        "names not synced: split, checkpoint, model",
        "app/host/files.py",
        "    source.replace(target)\n    sync(target.parent)\n",
        "    source.replace(target)\n",
        POWER,
    ),
    _one(
        "new folders not synced",
        "app/host/files.py",
        "    for parent in reversed(parents):\n",
        "    for parent in ():\n",
        POWER,
    ),
    _one(
        "files of a checkpoint not synced",
        "app/host/files.py",
        "        sync_tree(aside)\n",
        "        sync(aside)\n",
        "tests/training/test_checkpoints.py",
    ),
    _one(
        "a failed model removed although an alias lately pointed at it",
        "app/jobs/kept_models.py",
        " and model.id not in needed\n",
        "\n",
        "tests/jobs/test_kept_models.py",
    ),
    _one(
        "the last lines of a child that has ended are not stored",
        "app/workers/supervisor.py",
        "        self._drain()\n        self._settle()\n",
        "        self._settle()\n",
        SUPERVISOR,
    ),
    _one(
        "a child is killed, what it started is not",
        "app/workers/child_process.py",
        "            os.killpg(self._process.pid, signal.SIGKILL)\n",
        "            self._process.kill()\n",
        "tests/workers/test_child_process.py",
    ),
    _one(
        "a kill from outside counts as an attempt",
        "app/workers/supervisor.py",
        "is_from_outside=is_from_outside)",
        "is_from_outside=False)",
        SUPERVISOR,
    ),
    _one(
        "slow steps taken for silence",
        "app/workers/supervisor.py",
        "STALL_STEPS = 20\n",
        "STALL_STEPS = 0\n",
        SUPERVISOR,
    ),
    _one(
        "images that another import has just found are collected",
        "app/datasets/importer.py",
        "        return touch(target) and hashlib",
        "        return target.exists() and hashlib",
        "tests/services/test_deletions.py",
    ),
    _one(
        "two rows that disagree on an image's class are taken",
        "app/datasets/table_layout.py",
        "    if (before.label, before.split, before.group) != (row.label, row.split, row.group):\n",
        "    if False:\n",
        "tests/datasets/test_labels.py",
    ),
    _one(
        "a table that leads out of the upload is followed",
        "app/datasets/table_layout.py",
        '    return [each for each in joined if each != ".." and not each.startswith("../")]\n',
        "    return joined\n",
        "tests/datasets/test_labels.py",
    ),
    _one(
        "textures of one material are taken for copies",
        "app/datasets/near_duplicates/registration.py",
        "    if points < LEAST_POINTS or share < _LEAST_SHARE or points * share < _LEAST_BOTH:\n",
        "    if points < _FEWEST:\n",
        "tests/datasets/near_duplicates/test_registration.py",
    ),
    _one(
        "digits that look alike are taken for copies",
        "app/datasets/near_duplicates/pixels.py",
        "    return max(LEAST_CORRELATION, 1 - ",
        "    return min(LEAST_CORRELATION, 1 - ",
        "tests/datasets/near_duplicates/test_search.py",
    ),
    _one(
        "one wrong pair joins two large groups",
        "app/datasets/near_duplicates/groups.py",
        "CERTAIN = 0.5\n",
        "CERTAIN = 0.0\n",
        "tests/datasets/near_duplicates/test_groups.py",
    ),
    _one(
        "a drawn split divides groups",
        "app/datasets/split.py",
        "        if keeps_groups:\n            return draw_whole",
        "        if False:\n            return draw_whole",
        "tests/api/test_groups.py",
    ),
    _one(
        "test images of a group that was trained on are counted",
        "app/datasets/split.py",
        "            assigned = _without_shared(manifest.items, assigned)\n",
        "            pass\n",
        "tests/api/test_groups.py",
    ),
    _one(
        "a dataset is deleted while a new version is made of it",
        "app/services/dataset_states.py",
        "RevisionPayload.model_validate(job.payload).sources if job.kind == REVISION else ()",
        "()",
        "tests/api/test_dataset_versions.py",
    ),
    _one(
        "a relabelled image stays in the folder of its old class",
        "app/datasets/revision.py",
        "    name = _move(item, label)\n",
        "    name = item.name\n",
        "tests/datasets/test_revision.py",
    ),
    _one(
        "two files of an upload under one name",
        "app/datasets/names.py",
        '        unused = names[index] = unused_name(name, f"{file.raw}\\0{file.sha256}", taken)\n'
        "        taken.add(name_key(unused))\n",
        "        names[index] = name\n",
        "tests/datasets/test_names.py",
    ),
    _one(
        "hard links of a tar that unpack without a limit",
        "app/datasets/archives.py",
        "                budget.reach(linked_bytes)\n",
        "",
        "tests/datasets/test_names.py",
    ),
    _one(
        "an odd reading of names taken without a question",
        "app/datasets/name_encodings.py",
        "(best.score <= 0 or best.is_odd)",
        "(best.score <= 0)",
        "tests/datasets/test_zip_names.py",
    ),
    _one(
        "a prediction that forgets the model's pixel range",
        "app/inference/turns.py",
        "Reading(predictor.fit, predictor.pixel_range, max_pixels)",
        "Reading(predictor.fit, None, max_pixels)",
        "tests/api/test_pixel_range.py",
    ),
    _one(
        "a way in to predictions that the limits do not know",
        "app/api/prediction_routes.py",
        '    "/v2/models/{model}/infer",\n',
        "",
        "tests/api/test_prediction_routes.py",
    ),
    _one(
        "a way in for images that the limits do not know",
        "app/api/prediction_routes.py",
        "IMAGE_ROUTES = (*PREDICTION_ROUTES, SIMILAR_ROUTE)",
        "IMAGE_ROUTES = PREDICTION_ROUTES",
        "tests/api/test_prediction_routes.py",
        "-klist",
    ),
    _one(
        "a report that takes names from uploads for markup",
        "app/evaluation/page/template.py",
        "autoescape=True",
        "autoescape=False",
        "tests/evaluation/page/test_page.py",
    ),
    _one(
        "a report whose policy lets every style in",
        "app/evaluation/page/policy.py",
        "style-src 'sha256-{_DIGEST}'",
        "style-src 'unsafe-inline'",
        "tests/evaluation/page/test_page.py",
    ),
    _one(
        "thinned curves whose areas are those of the points that are left",
        "app/evaluation/analysis/curves.py",
        "area=float(auc(false_rate, heights)),",
        "area=float(auc(false_rate[kept], heights[kept])),",
        "tests/evaluation/analysis/test_curves.py",
    ),
    _one(
        "a risk that answers some of equally sure images",
        "app/evaluation/analysis/curves.py",
        "np.append(np.flatnonzero(np.diff(sorted_confidence)), len(order) - 1)",
        "np.arange(len(order))",
        "tests/evaluation/analysis/test_curves.py",
    ),
    _one(
        "a report of an evaluation that stays when its dataset goes",
        "app/services/deletions.py",
        "        context.storage.remove(analysis_folder(context, evaluation))\n",
        "",
        "tests/api/test_evaluation_report.py",
        "-kgoes",
    ),
    _one(
        "damaged feature vectors that are searched",
        "app/services/similar_images.py",
        "    _verify(folder, _stamp(folder / VECTORS, folder / HEADER))\n",
        "",
        "tests/api/test_similar_images.py",
    ),
    _one(
        "an image compared with vectors of another extractor",
        "app/services/similar_images.py",
        "header.extractor != extractor.note.sha256",
        "False",
        "tests/api/test_similar_images.py",
    ),
    _one(
        "a thumbnail in another range than its dataset's",
        "app/services/thumbnails.py",
        "Reading(fit, image.pixel_range,",
        "Reading(fit, None,",
        "tests/api/test_item_images.py",
    ),
    _one(
        "pixels answered otherwise than the evaluation answered them",
        "app/inference/turns.py",
        "self._run(lambda: predictor.predict(pixels))",
        "self._run(lambda: predictor.predict(pixels[::-1]))",
        "tests/api/test_inference_protocol.py",
    ),
    _one(
        "a tensor's size that is believed",
        "app/api/tensor_requests.py",
        "    if len(rest) != wanted * dtype.itemsize:\n",
        "    if False:\n",
        "tests/api/test_inference_protocol.py",
    ),
    _one(
        "logs not synced",
        "app/training/logs.py",
        "            sync(Path(file.name))\n",
        "",
        POWER,
    ),
    _one(
        "a query parameter that no route knows is ignored",
        "app/api/routes.py",
        "            _check_query(request, operation)\n",
        "",
        REQUESTS,
    ),
    _one(
        "the prefix of any client is believed",
        "app/api/proxies.py",
        "if client is None or client[0] not in self._trusted:",
        "if client is None:",
        "tests/api/test_proxies.py",
    ),
    _one(
        "text with a NUL character reaches the database",
        "app/api/text.py",
        "    if _ESCAPED.search(body):\n",
        "    if False:\n",
        REQUESTS,
    ),
    _one(
        "a key without the scope is let in",
        "app/api/scopes.py",
        "if self.scope is not None and self.scope not in caller.scopes:",
        "if False:",
        "tests/api/test_access.py",
    ),
    _one(
        "a route sees more than the products of its key",
        "app/api/dependencies.py",
        "    return get_open_context(request).on_behalf_of(caller)\n",
        "    return get_open_context(request) if caller else get_open_context(request)\n",
        "tests/api/test_access.py",
    ),
    _one(
        "a table is not limited to the products of a key",
        "app/models/product_limits.py",
        "table: table.job_id for table in (Evaluation, JobEvent, JobStep, JobEpoch, GpuLease, MlflowRun)",
        "table: table.job_id for table in (Evaluation, JobEvent, JobEpoch, GpuLease)",
        "tests/models/test_product_limits.py",
    ),
    _one(
        "rows are made for a product that the key does not have",
        "app/db.py",
        "            if product is not None and product not in products:\n",
        "            if product is None:\n",
        "tests/models/test_product_limits.py",
    ),
    _one(
        "keys share their idempotency keys",
        "app/api/dependencies.py",
        "    return route if caller.key_id is None else",
        "    return route if caller else",
        "tests/api/test_access.py::test_each_key_has_idempotency_keys_of_its_own",
    ),
    _one(
        "a change without its record",
        "app/services/audit_trail.py",
        "                session.add(AuditRecord(**seen.record))\n",
        "",
        f"{AUDIT}::test_a_record_says_who_did_what_to_which_thing_from_where_and_when",
    ),
    _one(
        "a record outside the transaction of its change",
        "app/services/audit_trail.py",
        '        event.listen(session, "before_commit", add)\n',
        '        event.listen(session, "before_commit", lambda _: None)\n',
        f"{AUDIT}::test_a_change_and_its_record_are_kept_together_or_not_at_all",
    ),
    _one(
        "a key in a path is kept in the audit",
        "app/services/audit_trail.py",
        "        text = self._hide_keys(text)[:MOST_LETTERS]\n",
        "        text = text[:MOST_LETTERS]\n",
        f"{AUDIT}::test_no_record_and_no_line_holds_what_was_sent_as_a_secret",
    ),
    _one(
        "every guess of a key is a row of the audit",
        "app/services/audit_trail.py",
        "            most = MOST_OF_STRANGERS if is_stranger else MOST_OF_CALLERS\n",
        "            most = MOST_PENDING if is_stranger else MOST_OF_CALLERS\n",
        f"{AUDIT}::test_a_thousand_guesses_are_a_few_rows_with_a_count",
    ),
    _one(
        "two jobs at once both pass the limit of a key",
        "app/services/key_quotas.py",
        "    session.get(ApiKey, caller.key_id, with_for_update=True)\n",
        "",
        f"{LIMITS}::test_two_jobs_at_once_do_not_both_pass_a_limit_of_one",
    ),
    _one(
        "an import ends with more images than its key may have",
        "app/jobs/kinds/dataset_import.py",
        "        require_room_for_images(session, dataset, default_limits(context.settings))\n",
        "",
        QUOTAS,
    ),
    _one(
        "every request waits for a frozen Redis",
        "app/api/rates.py",
        "        self._paused_until = time.monotonic() + PAUSE_SECONDS\n",
        "        self._paused_until = 0.0\n",
        f"{LIMITS}::test_a_frozen_redis_costs_one_short_wait_and_this_process_counts",
    ),
    _one(
        "other processes do not learn that a key was revoked",
        "app/services/api_keys.py",
        "        session.delete(key)\n        note_change(session, TOPIC)\n",
        "        session.delete(key)\n",
        f"{KEYS}::test_a_deleted_key_is_refused_at_once_and_soon_by_other_processes",
    ),
    _one(
        "a stream goes on after its key was revoked",
        "app/api/job_records.py",
        "    except LoupeError:\n        return False\n",
        "    except LoupeError:\n        return True\n",
        PROCESSES,
    ),
    _one(
        "a long poll goes on after its key was revoked",
        "app/api/waiting.py",
        "        recheck()\n",
        "",
        PROCESSES,
    ),
    _one(
        "the secret before a rotation is good for ever",
        "app/services/key_ring.py",
        "Secret(bytes.fromhex(row.previous_sha256), row.previous_until)",
        "Secret(bytes.fromhex(row.previous_sha256))",
        f"{KEYS}::test_the_secret_before_ends_by_the_clock",
    ),
    _one(
        "a key is good after its expiry",
        "app/services/key_ring.py",
        "    if _is_over(key.expires_at):\n",
        "    if False:\n",
        KEYS,
        SESSIONS,
    ),
    _one(
        "a session outlives the secret that opened it",
        "app/services/key_ring.py",
        "        if key is None or not key.is_proved(token, session.proof):\n",
        "        if key is None:\n",
        SESSIONS,
    ),
    _one(
        "signing out ends a session on one process alone",
        "app/services/browser_sessions.py",
        "hash_token(token)))\n        note_change(session, TOPIC)\n",
        "hash_token(token)))\n",
        SESSIONS,
    ),
    _one(
        "with the cookie, pages of other origins change things",
        "app/api/sites.py",
        "        if _shows_cookie(headers):\n            # A",
        "        if False:\n            # A",
        SESSIONS,
    ),
    _one(
        "a server stops asking for keys once LOUPE_API_KEY is unset",
        "app/services/key_ring.py",
        "return self._first is None and not self._require_known().keys",
        "return self._first is None",
        KEYS,
    ),
    _one(
        "a key stays bound to the id of a deleted product",
        "app/services/deletions.py",
        "        api_keys.unbind_product(session, product_id)\n",
        "",
        f"{KEYS}::test_another_product_of_the_same_id_is_not_that_of_the_key",
        "a message whose record was lost is not sent again",
        "app/jobs/webhook_deliveries.py",
        "next_attempt_at=db_now() + CLAIM_SECONDS)",
        "next_attempt_at=None)",
        DELIVERIES,
    ),
    _one(
        "an attempt that was thought lost overwrites a newer one",
        "app/jobs/webhook_deliveries.py",
        "WebhookDelivery.id == claim.delivery, WebhookDelivery.attempts == claim.attempt)",
        "WebhookDelivery.id == claim.delivery)",
        DELIVERIES,
    ),
    _one(
        "a training is not sent to MLflow again after its worker was lost",
        "app/jobs/mlflow_runs.py",
        "next_attempt_at=db_now() + CLAIM_SECONDS)",
        "next_attempt_at=None)",
        MLFLOW,
    ),
    _one(
        "a lost attempt to send to MLflow overwrites a newer one",
        "app/jobs/mlflow_runs.py",
        "                MlflowRun.attempts == claim.attempt,\n",
        "",
        MLFLOW,
    ),
    _one(
        "a webhook's name looked up again after its check",
        "app/host/outgoing.py",
        "                    str(address), port,",
        "                    host, port,",
        OUTGOING,
    ),
    _one(
        "an inner address that a webhook reaches through its name",
        "app/host/outgoing.py",
        "    reach.check_addresses(host, addresses)\n",
        "",
        OUTGOING,
    ),
    _one(
        "a slow answer that holds a webhook's thread",
        "app/host/outgoing.py",
        "self._stream.read(max_bytes, _remaining(self._deadline))",
        "self._stream.read(max_bytes, timeout)",
        OUTGOING,
        "a head of a request may take for ever",
        "app/launch/http_protocol.py",
        "        if self._waited <= seconds:\n",
        "        if True:\n",
        f"{CONNECTIONS}::test_a_head_that_does_not_end_gets_408",
    ),
    _one(
        "one client may hold all connections",
        "app/launch/connections.py",
        "        if is_one_too_many and not self._make_room(client):\n",
        "        if False:\n",
        f"{CONNECTIONS}::test_each_network_of_ipv6_is_one_client_and_a_proxy_is_none",
    ),
    _one(
        "an import follows a link that took the place of its folder",
        "app/host/handles.py",
        "os.O_DIRECTORY | os.O_NOFOLLOW | getattr",
        "os.O_DIRECTORY | getattr",
        "tests/datasets/test_roots.py",
    ),
    _one(
        "a client's text in the log as it came",
        "app/logs.py",
        "    return text if text.isprintable() else text.translate(_ESCAPES)\n",
        "    return text\n",
        "tests/test_logs.py",
    ),
    _one(
        "a forwarded address is believed although a stranger stands behind it",
        "app/api/proxies.py",
        "            if self._trusted.is_any or client[0] not in self._trusted:\n",
        "            if self._trusted.is_any:\n",
        "tests/api/test_proxies.py",
    ),
    _one(
        "a class that a spreadsheet would compute, in a CSV as it is",
        "app/csv_cells.py",
        """    return [f"'{cell}" if is_formula(cell) else cell for cell in cells]\n""",
        "    return list(cells)\n",
        "tests/test_csv_cells.py",
    ),
    _one(
        "a link in a file of weights that comes is followed",
        "app/training/transfer/arrays.py",
        "            if not isinstance(link, h5py.HardLink):\n                raise",
        "            if False:\n                raise",
        CONVERSION,
    ),
    _one(
        "weights of other bytes than the manifest names are taken",
        "app/training/transfer/rebuild.py",
        "    if weights_sha256(read_values(model.weights)) != manifest.weights_sha256:\n",
        "    if False:\n",
        CONVERSION,
    ),
    _one(
        "a converted model that answers otherwise is kept",
        "app/training/parity.py",
        "    if bad.size:\n",
        "    if False:\n",
        CONVERSION,
    ),
    _one(
        "a file that does not belong to a model is unpacked",
        "app/training/transfer/unpack.py",
        "    if info.filename not in _FILES:\n",
        "    if False:\n",
        "tests/training/test_unpack.py",
        "predictions over many images that go on one image too late",
        "app/batches/sources.py",
        "                if number >= start:\n",
        "                if number > start:\n",
        "tests/batches/test_sources.py",
    ),
    _one(
        "saved results that are not compared with what was written",
        "app/batches/results.py",
        "        if self.describe() != written:\n",
        "        if False:\n",
        "tests/batches/test_results.py",
    ),
    _one(
        "a key that sees the predictions of others without `read`",
        "app/services/batch_predictions.py",
        """("read" not in caller.scopes and job.key_id != caller.key_id)""",
        "False",
        "tests/api/test_batch_predictions.py::test_keys_see_what_they_may",
    ),
    _one(
        "a watched image moved before its row is on the disk",
        "app/cli/watch_results.py",
        "            os.fsync(self._descriptor)\n        except OSError as error:\n",
        "        except OSError as error:\n",
        "tests/cli/test_watch.py::test_a_row_is_on_the_disk_before_its_image_moves",
    ),
    _one(
        "a watched folder's row that a kill cut off is kept",
        "app/cli/watch_results.py",
        "                os.ftruncate(self._descriptor, known.end)\n",
        "                pass\n",
        "tests/cli/test_watch_results.py",
    ),
    _one(
        "a watched image that has a row is asked again",
        "app/cli/watcher.py",
        " for version in due if version.key not in known}",
        " for version in due}",
        "tests/cli/test_watch.py",
    ),
    _one(
        "a watched image is asked while it grows",
        "app/cli/watched_folder.py",
        "            if now - before.since < self._settle_seconds:\n",
        "            if False:\n",
        "tests/cli/test_watch.py",
    ),
    _one(
        "a watched image that is moved takes another's place",
        "app/cli/label_folders.py",
        "                rename_exclusively(source, target)\n",
        "                source.replace(target)\n",
        "tests/cli/test_label_folders.py",
    ),
    _one(
        "a watched image that was copied before a kill is copied again",
        "app/cli/label_folders.py",
        "        target = _find_copy(version, folder) if is_resumed else None\n",
        "        target = None\n",
        "tests/cli/test_watch_kills.py",
    ),
    _one(
        "near-duplicates are on both sides of a split",
        "app/datasets/wholes.py",
        '("group", item.group), ("near", item.near_group)',
        '("group", item.group),',
        "tests/datasets/examination/test_near_search.py",
    ),
    _one(
        "near-duplicate groups of another dataset are used",
        "app/datasets/near_groups.py",
        "    return found.groups if found is not None and found.digest == manifest.digest else None\n",
        "    return None if found is None else found.groups\n",
        "tests/datasets/examination/test_near_search.py",
    ),
    _one(
        "an examination that was altered is believed",
        "app/datasets/seals.py",
        "    return content if seal in (None, _digest(values)) else None\n",
        "    return content\n",
        "tests/datasets/examination/test_near_search.py",
    ),
    _one(
        "a stamp is taken for a contradiction",
        "app/datasets/examination/near_search.py",
        "labels[pair.first] == labels[pair.second] or pair.cover >= _COVER_OF_OTHERS",
        "pair is not None",
        "tests/datasets/examination/test_near_search.py",
    ),
    _one(
        "different things on one background are kept together",
        "app/datasets/examination/near_search.py",
        "(backgrounds if len(group) >= _FEW and agreement < least else kept)",
        "kept",
        "tests/datasets/examination/test_near_search.py",
    ),
    _one(
        "a label is suspected without a second opinion",
        "app/features/label_audit.py",
        "        wrong = doubtful[neighbours.judge(doubtful, trusted, alive) == meant[doubtful]]\n",
        "        wrong = doubtful\n",
        "tests/features/test_label_audit.py",
    ),
    _one(
        "the honesty figure is judged by random folds alone",
        "app/datasets/examination/honesty.py",
        "                true=estimate(audit.answers == labels, keys),\n",
        "                true=estimate(_answer(vectors[rows], labels, copies, alive) == labels, keys),\n",
        "tests/datasets/examination/test_checks.py",
    ),
    _one(
        "an interval takes images of one group for different ones",
        "app/datasets/examination/honesty.py",
        "    worth = max(1, round(number / effect))\n",
        "    worth = number\n",
        "tests/datasets/examination/test_checks.py",
    ),
    _one(
        "a sweep is left to the worker that was lost",
        "app/workers/reaper_thread.py",
        "        reaper.move_sweeps_on(self._context)\n",
        "",
        REAPER_THREAD,
    ),
    _one(
        "a sweep goes on with the worse half",
        "app/services/successive_halving.py",
        "    figures = (-score.accuracy, score.loss)\n",
        "    figures = (score.accuracy, -score.loss)\n",
        "tests/services/test_sweep_rules.py",
    ),
    _one(
        "a loser of a sweep becomes champion by its test",
        "app/services/promotion.py",
        '.ends_as == "pruned"\n',
        '.ends_as == ""\n',
        "tests/api/test_sweeps.py",
    ),
    _one(
        "a model that is shown to be worse becomes champion",
        "app/services/promotion.py",
        "    if p_value < SIGNIFICANCE:\n        return False,",
        "    if p_value < SIGNIFICANCE:\n        return True,",
        "tests/services/test_promotion.py",
    ),
    _one(
        "few images hide that a model is worse",
        "app/services/promotion.py",
        "    if behind <= MOST_LOSS * found.counted:\n",
        "    if p_value >= SIGNIFICANCE:\n",
        "tests/services/test_promotion.py",
    ),
    _one(
        "a champion that moved while another was asked is not asked",
        "app/services/promotion.py",
        "Champion(model.id, tuple(model.labels), find_answer(model.id))",
        "Champion(model.id, tuple(model.labels), find_answer(model.id) or ChampionAnswer(is_broken=True))",
        "tests/services/test_promotion.py",
    ),
    _one(
        "the champion is asked about images that it was trained on",
        "app/evaluation/comparison.py",
        "[*_require_learned(spec.learned), *(known or ())]",
        "[*_require_learned(spec.learned)]",
        "tests/evaluation/test_comparison.py",
    ),
    _one(
        "images that show what was learned are new to a model",
        "app/datasets/unseen.py",
        "if whole not in seen]",
        "if item not in learned]",
        "tests/datasets/test_unseen.py",
    ),
    _one(
        "a job whose end is prepared does not leave when it is asked to",
        "app/workers/supervisor.py",
        "preparation(children.run), self._beat_or_leave))",
        "preparation(children.run), self._beat))",
        "tests/workers/test_supervisor.py",
    ),
    _one(
        "the candidates of a sweep are tested before one is chosen",
        "app/training/pipeline.py",
        "        _leave_or_end_early(run, fit)\n",
        "",
        "tests/workers/test_sweeps.py",
    ),
    _one(
        "a forecast of accuracy that has seen the test split",
        "app/services/forecasts.py",
        'in ("train", "valid")]',
        'in ("train", "valid", "test")]',
        "tests/api/test_forecasts.py",
        "-kwritten",
    ),
    _one(
        "a learning curve whose images are judged by others of the same thing",
        "app/forecasts/curve.py",
        "    keys = np.unique(wholes, return_inverse=True)[1].astype(np.int64)\n",
        "    keys = np.arange(len(wholes))\n",
        "tests/forecasts/test_curve.py",
    ),
    _one(
        "a forecast that waits for as long as its process takes",
        "app/services/forecasts.py",
        "                seconds=SECONDS,\n",
        "",
        "tests/api/test_forecasts.py",
        "-klimit",
    ),
    _one(
        "a time left that ends with the last step",
        "app/jobs/time_left.py",
        'return seconds + (left_in_stages(expected, "evaluating") or 0.0)',
        "return seconds",
        "tests/jobs/test_time_left.py",
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutations", description=__doc__)
    parser.add_argument("--only", metavar="WORDS", help="those whose description has these words")
    parser.add_argument("--at-a-time", type=int, default=2, help="how many run beside each other")
    arguments = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if (arguments.only or "") in mutation.what]
    with ThreadPoolExecutor(arguments.at_a_time) as pool:
        are_noticed = list(pool.map(_is_noticed, chosen))
    print("\n| change | test that noticed |\n|---|---|")
    for mutation, is_noticed in zip(chosen, are_noticed, strict=True):
        print(f"| {mutation.what} | {mutation.notices if is_noticed else '**none**'} |")
    return 0 if all(are_noticed) else 1


def _is_noticed(mutation: Mutation) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "loupe"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        for edit in mutation.edits:
            apply(edit, copy)
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-m", "", "-p", "no:cacheprovider", *mutation.tests],
            cwd=copy,
            # Before the installed package, which is the repository itself.
            env={**os.environ, "PYTHONPATH": str(copy)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    found = [line for line in ended.stdout.splitlines() if line.startswith(("E  ", "FAILED", "ERROR"))]
    is_noticed = ended.returncode == 1 and any(line.startswith("FAILED") for line in found)
    took = time.monotonic() - began
    print(f"{'red' if is_noticed else 'NOT RED':7} {took:4.0f} s  {mutation.what}", flush=True)
    for line in found[:4] if is_noticed else ended.stdout.splitlines()[-15:]:
        print(f"                {line}", flush=True)
    return is_noticed


def apply(edit: Edit, root: Path) -> None:
    """Raises ValueError when the text is not there once."""
    path = root / edit.file
    text = path.read_text(encoding="utf-8")
    if text.count(edit.before) != 1:
        raise ValueError(f"{edit.file} has {text.count(edit.before)} times: {edit.before!r}")
    path.write_text(text.replace(edit.before, edit.after), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
