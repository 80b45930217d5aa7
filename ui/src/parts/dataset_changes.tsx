import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { useAct } from "../api/use_act";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import { Confirm } from "./confirm";
import { toRevision, type useEdits } from "./dataset_edits";
import { Picture } from "./gallery";
import { count } from "./numbers";
import { Problem } from "./problem";

type State = ReturnType<typeof useEdits>;

/** Changes that are listed at once; a longer list is folded further. */
const LISTED = 100;

/** "3 changes", each of which can be undone, and the button that makes a new version of them. */
export function ChangesBar({ dataset, state }: { dataset: string; state: State }) {
  const { changes, edits, clear, sent } = state;
  const { route } = useLocation();
  const { go, error, isBusy } = useAct(async () => {
    const made = await ask(
      api.POST("/datasets/{dataset}/versions", { params: { path: { dataset } }, body: toRevision(edits) }),
    );
    sent(made.id);
    route(page(`/datasets/${made.id}`));
  });
  if (changes.length === 0) return null;
  return (
    <section class="changes" aria-label="Changes">
      {error && <Problem error={error} />}
      <div class="row">
        <details>
          <summary>
            <b aria-live="polite">{count(changes.length, "change")}</b>, not made yet
          </summary>
          <ul class="links">
            {changes.slice(-LISTED).map(({ words, undo }) => (
              <li key={words}>
                {words}
                <button type="button" class="small end" aria-label={`Undo: ${words}`} onClick={undo}>
                  Undo
                </button>
              </li>
            ))}
          </ul>
        </details>
        <button type="button" onClick={clear}>
          Undo all
        </button>
        <button type="button" class="main" disabled={isBusy} onClick={() => void go()}>
          Make a new version
        </button>
      </div>
    </section>
  );
}

/** The classes with their counts; two become one, or one gets another name. */
export function Classes({ dataset, state }: { dataset: Schemas["Dataset"]; state: State }) {
  const names = dataset.classes.map(({ name }) => name);
  const [from, setFrom] = useState(names[0] ?? "");
  const [to, setTo] = useState("");
  const most = Math.max(...dataset.classes.map(({ count }) => count), 1);
  return (
    <section class="card">
      <h2>{count(names.length, "class", "classes")}</h2>
      <ul class="bars bars-long">
        {dataset.classes.map(({ name, count }) => (
          <li key={name}>
            <span class="name">
              {name}
              {state.edits.merge[name] && ` → ${state.edits.merge[name]}`}
            </span>
            <span>{count.toLocaleString("en")}</span>
            <span class="track" aria-hidden="true">
              <span style={{ width: `${(count / most) * 100}%` }} />
            </span>
          </li>
        ))}
      </ul>
      <div class="row">
        <Confirm
          button="Merge or rename a class"
          title="Merge or rename a class"
          confirm="Add to the changes"
          act={async () => {
            state.merge(from, to.trim());
            setTo("");
          }}
        >
          <label>
            Class
            <select value={from} onChange={(event) => setFrom(event.currentTarget.value)}>
              {names.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
          <label>
            becomes
            <input
              list="classes"
              required
              value={to}
              maxLength={200}
              onInput={(event) => setTo(event.currentTarget.value)}
            />
            <span class="help">
              {names.includes(to.trim()) && to.trim() !== from
                ? `All images of ${from} become ${to.trim()}.`
                : "A class that there is, or a new name."}
            </span>
          </label>
          <datalist id="classes">
            {names
              .filter((name) => name !== from)
              .map((name) => (
                <option key={name} value={name} />
              ))}
          </datalist>
        </Confirm>
      </div>
    </section>
  );
}

const CHANGE_WORDS: Record<string, string> = {
  added: "added",
  removed: "left out",
  relabelled: "of another class now",
  moved: "in another split folder now",
};
const PICTURES = 12;

/** What differs from the dataset that this one was made of, with pictures. */
export function Difference({ before, after }: { before: string; after: string }) {
  const state = useAsk(
    (signal) =>
      ask(
        api.GET("/datasets/{dataset}/diff/{other}", {
          params: { path: { dataset: before, other: after }, query: { limit: PICTURES } },
          signal,
        }),
      ),
    ["diff", before, after],
  );
  // The one that it was made of may be deleted since.
  if (state.error?.status === 404) return <p class="quiet">It was made of a dataset that is deleted.</p>;
  return (
    <Asked state={state} lines={3}>
      {({ counts, classes, data }) => {
        const changed = Object.entries(counts).filter(([, number]) => number > 0);
        return (
          <>
            <p>
              A new version of <a href={page(`/datasets/${before}`)}>the dataset before</a>:{" "}
              {changed.length === 0
                ? "the same images and classes."
                : `${changed.map(([change, number]) => `${count(number, "image")} ${CHANGE_WORDS[change]}`).join(", ")}.`}
            </p>
            {classes.length > 0 && (
              <p class="quiet small">
                {classes.map(({ name, before, after }) => `${name} ${before} → ${after}`).join(", ")}
              </p>
            )}
            <ul class="differences">
              {data.map((each) => (
                <li key={`${each.before} ${each.after}`}>
                  <Picture
                    dataset={each.after ? after : before}
                    item={{ id: each.after ?? each.before ?? "", width: 99, height: 99 }}
                    longest={64}
                  />
                  <span class="small">{differenceInWords(each)}</span>
                </li>
              ))}
            </ul>
          </>
        );
      }}
    </Asked>
  );
}

function differenceInWords({ change, ...each }: Schemas["ItemDifference"]): string {
  if (change === "relabelled") return `${each.label_before} → ${each.label_after}`;
  if (change === "moved") return `${each.split_before} → ${each.split_after}`;
  return `${each.label_after ?? each.label_before}, ${CHANGE_WORDS[change]}`;
}
