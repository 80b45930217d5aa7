/** `/ui/jobs/{job}`: is it learning, how long still; then: is it better, where is it wrong? */
import { useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { useEvents } from "../api/use_events";
import { Asked } from "../parts/asked";
import { Curves } from "../parts/curves";
import { EvaluationOf } from "../parts/evaluation";
import { Events } from "../parts/events";
import { JobActions } from "../parts/job_actions";
import { isActive, JobProgress, nameOf } from "../parts/job_progress";
import { Logs } from "../parts/logs";
import { Page } from "../parts/page";
import { ProblemText } from "../parts/problem";
import { Settings } from "../parts/settings";
import { State } from "../parts/state";
import { TrainingFindings } from "../parts/training_findings";
import { When } from "../parts/when";

/** How often a job is looked at beside its events, in milliseconds: its progress is none. */
const LOOK = 2000;

export default function Job() {
  const { job: id } = useRoute().params as { job: string };
  const state = useAsk(
    (signal) => ask(api.GET("/jobs/{job}", { params: { path: { job: id } }, signal })),
    [id],
    {
      every: (job) => (job && isActive(job) ? LOOK : null),
    },
  );
  const job = state.value;
  const events = useEvents(id, job && isActive(job), state.again);
  return (
    <Page
      title={job ? nameOf(job) : "Job"}
      crumbs={[
        ["Products", ""],
        ...(job ? [[job.product, `/products/${job.product}`] as [string, string]] : []),
      ]}
      actions={job && <JobActions job={job} changed={state.again} />}
      curl={[
        { what: "The job", curl: `{api}/jobs/${id}` },
        { what: "Its curves", curl: `{api}/jobs/${id}/metrics` },
        { what: "What stands out in a training", curl: `{api}/jobs/${id}/findings` },
        {
          what: "Its events, as they happen",
          curl: `-N -H 'accept: text/event-stream' {api}/jobs/${id}/events`,
        },
        { what: "How good its model is", curl: `{api}/jobs/${id}/evaluation` },
        { what: "The report, one file to keep", curl: `-o report.html {api}/jobs/${id}/evaluation/report` },
      ]}
    >
      <Asked state={state} lines={12}>
        {(job) => (
          <>
            <Head job={job} />
            {job.kind === "training" && job.started_at && <TrainingFindings job={job} />}
            {job.status === "succeeded" && hasEvaluation(job) && (
              <EvaluationOf job={job} changed={state.again} />
            )}
            {job.kind === "training" && <Curves job={job} />}
            <div class="columns">
              <div>
                <section class="card">
                  <h2>Events</h2>
                  <Events events={events} />
                </section>
              </div>
              <div>
                <Settings job={job} />
                {job.kind === "training" && <Logs job={job} />}
              </div>
            </div>
          </>
        )}
      </Asked>
    </Page>
  );
}

function hasEvaluation(job: Schemas["Job"]): boolean {
  return job.kind === "training" && job.model !== null;
}

function Head({ job }: { job: Schemas["Job"] }) {
  return (
    <section class="card">
      <div class="row">
        <State of={job.status} />
        <span class="quiet">
          made <When time={job.created_at} />
          {job.sweep && (
            <>
              , of a <a href={page(`/sweeps/${job.sweep}`)}>sweep</a>
            </>
          )}
        </span>
      </div>
      {job.error && <ProblemText problem={job.error} />}
      <JobProgress job={job} />
      {job.gate?.reasons.map((reason) => (
        <p key={reason} class={job.gate?.became_champion ? "notice good" : "notice"}>
          {reason}
        </p>
      ))}
    </section>
  );
}
