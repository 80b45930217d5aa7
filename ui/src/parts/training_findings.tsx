import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import { Found } from "./found";

/** What stands out in a training, the worst first; asked again with each epoch, and when it ends. */
export function TrainingFindings({ job }: { job: Schemas["Job"] }) {
  const state = useAsk(
    (signal) => ask(api.GET("/jobs/{job}/findings", { params: { path: { job: job.id } }, signal })),
    [job.id],
    { as: [job.status, job.progress.epoch] },
  );
  return (
    <Asked state={state} lines={2}>
      {({ data, epochs, is_tested }) => (
        <section class="founds" aria-label="Findings">
          {data.map((one) => (
            <Found
              key={`${one.code} ${one.finding}`}
              level={one.level}
              words={one.finding}
              evidence={one.evidence}
              advice={one.advice}
            >
              <Next finding={one} />
            </Found>
          ))}
          {data.length === 0 && epochs > 0 && (
            <p class="quiet">
              {is_tested ? "Nothing stands out in this training." : "Nothing stands out so far."}
            </p>
          )}
        </section>
      )}
    </Asked>
  );
}

/** What does what the advice says: the page of the dataset, or a command. */
function Next({ finding }: { finding: Schemas["Finding"] }) {
  if (finding.dataset)
    return (
      <a class="button small" href={page(`/datasets/${finding.dataset}`)} aria-label={LOOK + finding.finding}>
        Look at the dataset
      </a>
    );
  return finding.command ? <code>{finding.command}</code> : null;
}

const LOOK = "Look at the dataset: ";
