/** `/ui/sweeps/{sweep}`: which networks are tried, which is ahead, which is worth its time? */
import { useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Confirm } from "../parts/confirm";
import { Share } from "../parts/estimate";
import { bytes, decimal, duration, moment, percent } from "../parts/numbers";
import { Page } from "../parts/page";
import { ProblemText } from "../parts/problem";
import { State } from "../parts/state";

const LOOK = 3000;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);

export default function Sweep() {
  const { sweep: id } = useRoute().params as { sweep: string };
  const state = useAsk(
    (signal) => ask(api.GET("/sweeps/{sweep}", { params: { path: { sweep: id } }, signal })),
    [id],
    {
      every: (sweep) => (sweep && ENDED.has(sweep.status) ? null : LOOK),
    },
  );
  const sweep = state.value;
  return (
    <Page
      title="Sweep"
      crumbs={[
        ["Products", ""],
        ...(sweep ? [[sweep.product, `/products/${sweep.product}`] as [string, string]] : []),
      ]}
      actions={
        sweep &&
        !ENDED.has(sweep.status) && (
          <Confirm
            button="Cancel"
            title="Cancel this sweep?"
            confirm="Cancel the sweep"
            kind="danger"
            act={async () => {
              await ask(api.POST("/sweeps/{sweep}/cancel", { params: { path: { sweep: id } } }));
              state.again();
            }}
          >
            <p>Its trainings end. What they have learned so far is thrown away.</p>
          </Confirm>
        )
      }
      curl={[{ what: "The sweep", curl: `{api}/sweeps/${id}` }]}
    >
      <Asked state={state} lines={12}>
        {(sweep) => (
          <>
            <Head sweep={sweep} />
            <Candidates candidates={sweep.candidates} winner={sweep.winner} />
            {sweep.skipped.length > 0 && (
              <section class="card">
                <details>
                  <summary>{sweep.skipped.length} networks were not tried</summary>
                  <ul class="links">
                    {sweep.skipped.map((one) => (
                      <li key={one.network}>
                        {one.network} <span class="quiet">{one.reason}</span>
                      </li>
                    ))}
                  </ul>
                </details>
              </section>
            )}
            <section class="card">
              <h2>Events</h2>
              <ol class="events" tabIndex={0} aria-label="Events, newest first">
                {[...sweep.events].reverse().map((event) => (
                  <li key={`${event.at} ${event.type} ${event.detail}`}>
                    <time class="quiet small" dateTime={event.at}>
                      {moment(event.at)}
                    </time>
                    <span>
                      {event.type.replaceAll("_", " ")}: {event.detail}
                    </span>
                  </li>
                ))}
              </ol>
            </section>
          </>
        )}
      </Asked>
    </Page>
  );
}

function Head({ sweep }: { sweep: Schemas["Sweep"] }) {
  const racing = sweep.candidates.filter(({ standing }) => standing === "racing").length;
  return (
    <section class="card">
      <div class="row">
        <State of={sweep.status} />
        {!ENDED.has(sweep.status) && (
          <span>
            {racing} of {sweep.candidates.length} still race
          </span>
        )}
        {sweep.seconds !== null && <span class="quiet">{duration(sweep.seconds)} so far</span>}
        {sweep.budget_seconds !== null && <span class="quiet">of {duration(sweep.budget_seconds)}</span>}
      </div>
      {sweep.error && <ProblemText problem={sweep.error} />}
      {sweep.winner && (
        <p>
          The winner:{" "}
          <a href={page(`/jobs/${sweep.winner}`)}>
            {sweep.candidates.find(({ job }) => job === sweep.winner)?.network}
          </a>
        </p>
      )}
      <p class="help">
        They are ranked by validation. Only the winner is measured on test images, so that its figure was not
        chosen among many.
      </p>
    </section>
  );
}

function Candidates({
  candidates,
  winner,
}: {
  candidates: Schemas["SweepCandidate"][];
  winner: string | null;
}) {
  return (
    <section class="card">
      <h2>Candidates</h2>
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th class="number">place</th>
              <th>network</th>
              <th>validation accuracy</th>
              <th class="number">epochs</th>
              <th class="number">an image</th>
              <th class="number">size</th>
              <th class="number">spent</th>
              <th>standing</th>
            </tr>
          </thead>
          <tbody>
            {candidates.map((one) => (
              <tr key={one.job}>
                <td class="number">{one.place ?? "–"}</td>
                <td>
                  <a href={page(`/jobs/${one.job}`)}>{one.network}</a> {one.job === winner && <b>winner</b>}
                  {one.on_front && <span class="quiet small"> no other is better and faster</span>}
                  {Object.entries(one.settings).map(([name, value]) => (
                    <span key={name} class="quiet small">
                      {" "}
                      {name} {String(value)}
                    </span>
                  ))}
                </td>
                <td>{one.accuracy ? <Share of={one.accuracy} /> : "–"}</td>
                <td class="number">
                  {one.epoch} of {one.epochs}
                </td>
                <td class="number">{one.milliseconds === null ? "–" : `${decimal(one.milliseconds)} ms`}</td>
                <td class="number">{bytes(one.bytes)}</td>
                <td class="number">{duration(one.seconds)}</td>
                <td>
                  {one.standing}
                  {one.reason && <span class="quiet small"> {one.reason}</span>}
                  {one.test_accuracy !== null && (
                    <span class="quiet small"> test {percent(one.test_accuracy)}</span>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
