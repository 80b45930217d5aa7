-- What a worker of the first release (migration 5c3fae945b15) writes while it runs the queued job of
-- first_tables.sql: claim, report, finish, and the reaper's lease. It runs beside a newer API during an upgrade.

UPDATE jobs SET status = 'running', fence = fence + 1, attempt = attempt + 1, attempts_without_checkpoint = attempts_without_checkpoint + 1, lease_owner = 'old', lease_until = 1795529800.0 WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj' AND NOT cancel_requested AND (status = 'queued' OR (status = 'running' AND lease_until < 1795529740.0 AND attempts_without_checkpoint < 3));
UPDATE jobs SET started_at = '2026-11-24 14:15:51.000000', stage = 'preparing' WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj';
UPDATE jobs SET last_event = last_event + 1 WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj';
INSERT INTO job_events (job_id, number, type, data, created_at) VALUES ('job_01m86ykdy9tba6d6kzqm39n1kj', 2, 'status', '{"status": "running", "attempt": 1}', '2026-11-24 14:15:51.000000');
UPDATE jobs SET fence = fence, lease_until = 1795529810.0 WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj' AND fence = 1 AND status = 'running';
DELETE FROM job_steps WHERE job_id = 'job_01m86ykdy9tba6d6kzqm39n1kj' AND step > 0;
DELETE FROM job_epochs WHERE job_id = 'job_01m86ykdy9tba6d6kzqm39n1kj' AND step > 0;
INSERT INTO job_steps (job_id, step, epoch, loss, accuracy, learning_rate, images_per_second) VALUES ('job_01m86ykdy9tba6d6kzqm39n1kj', 1, 1, 0.5, 0.75, 0.01, 10.0) ON CONFLICT (job_id, step) DO UPDATE SET loss = excluded.loss;
INSERT INTO job_epochs (job_id, epoch, step, train_loss, train_accuracy, valid_loss, valid_accuracy, learning_rate, seconds, is_best) VALUES ('job_01m86ykdy9tba6d6kzqm39n1kj', 1, 1, 0.5, 0.75, 0.25, 1.0, 0.01, 1.5, true) ON CONFLICT (job_id, epoch) DO UPDATE SET is_best = excluded.is_best;
UPDATE jobs SET progress = '{"epoch": 1, "step": 1, "steps": 8, "fraction": 0.125}', best = '{"epoch": 1, "metric": "valid_loss", "value": 0.25}' WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj';
INSERT INTO models (id, product_id, job_id, dataset_id, version, network, folder, digest, weights_sha256, bytes, labels, metrics, serving, created_at) VALUES ('mdl_01m86ykdy9tba6d6kzqm39n1kj', 'screws', 'job_01m86ykdy9tba6d6kzqm39n1kj', 'dst_01m86yjn7a6emga5ac5crzg4gn', 2, 'tiny_cnn', 'models/mdl_01m86ykdy9tba6d6kzqm39n1kj/0001', 'd', 'w', 1, '["blue", "green", "red"]', '{"accuracy": {"value": 1.0, "low": 0.6, "high": 1.0}}', '{"runtime": "litert"}', '2026-11-24 14:15:52.000000');
UPDATE aliases SET model_id = 'mdl_01m86ykdy9tba6d6kzqm39n1kj', moved_at = '2026-11-24 14:15:52.000000' WHERE product_id = 'screws' AND name = 'champion';
INSERT INTO evaluations (id, job_id, model_id, dataset_id, is_final_test, folder, report, created_at) VALUES ('evl_01m86ykdy9tba6d6kzqm39n1kj', 'job_01m86ykdy9tba6d6kzqm39n1kj', 'mdl_01m86ykdy9tba6d6kzqm39n1kj', 'dst_01m86yjn7a6emga5ac5crzg4gn', true, 'jobs/job_01m86ykdy9tba6d6kzqm39n1kj/evaluations/final-0001', '{"items": 6, "metrics": {"accuracy": {"value": 1.0, "low": 0.6, "high": 1.0}}}', '2026-11-24 14:15:52.000000');
UPDATE jobs SET last_event = last_event + 1 WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj';
INSERT INTO job_events (job_id, number, type, data, created_at) VALUES ('job_01m86ykdy9tba6d6kzqm39n1kj', 3, 'status', '{"status": "succeeded"}', '2026-11-24 14:15:52.000000');
UPDATE jobs SET status = 'succeeded', stage = NULL, stop_reason = 'completed', gate = '{"passed": true, "reasons": []}', result = '{"weights_sha256": "w"}', lease_owner = NULL, lease_until = NULL, finished_at = '2026-11-24 14:15:52.000000' WHERE id = 'job_01m86ykdy9tba6d6kzqm39n1kj';
INSERT INTO leases (name, owner, until) VALUES ('reaper', 'old|reaper', 1795529815.0) ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until WHERE leases.until < 1795529800.0;
