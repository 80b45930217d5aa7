import { useEffect, useRef } from "preact/hooks";
import { file, type Schemas } from "../api/client";
import { Skeleton } from "./asked";
import type { useEdits } from "./dataset_edits";
import { editOf } from "./dataset_edits";
import { suspicionInWords } from "./gallery";
import type { Item } from "./gallery_filter";
import { isTyping } from "./keys";
import { bytes, count, decimal } from "./numbers";

/** The longest side of the picture, in pixels: what the API makes of larger ones. */
const LONGEST = 1024;

interface Props {
  dataset: Schemas["Dataset"];
  item: Item | undefined;
  at: number;
  total: number;
  edits: ReturnType<typeof useEdits>;
  go: (place: number) => void;
  act: (key: string, item: Item) => void;
  /** The address that shows what looks like an image, and the one of its near-duplicate group. */
  similar: (item: Item) => string;
  nearGroup: (group: string) => string;
  close: () => void;
}

/** One picture, large, with all that is known of it. Left and right go on, digits give it another class. */
export function GalleryView({ dataset, item, at, total, edits, go, act, similar, nearGroup, close }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  const press = (event: KeyboardEvent) => {
    if (isTyping(event)) return;
    if (event.key === "ArrowLeft" && at > 0) go(at - 1);
    else if (event.key === "ArrowRight" && at < total - 1) go(at + 1);
    else if (item && /^[1-9sx]$/.test(event.key)) act(event.key, item);
    else return;
    event.preventDefault();
  };
  return (
    <dialog
      ref={dialog}
      class="view"
      aria-label={item?.name ?? "Image"}
      onKeyDown={press}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
    >
      <div class="title">
        <h2>{item?.name ?? "…"}</h2>
        <button type="button" class="small" onClick={close}>
          Close
        </button>
      </div>
      {item ? (
        <div class="view-columns">
          <a href={file(`/datasets/${dataset.id}/items/${item.id}/image`)} target="_blank" rel="noreferrer">
            <img
              class={Math.max(item.width, item.height) < 200 ? "pixels" : undefined}
              src={file(`/datasets/${dataset.id}/items/${item.id}/image?size=${LONGEST}`)}
              // The thumbnails behind it can wait.
              fetchpriority="high"
              alt={`${item.name}, of the class ${item.label}`}
            />
          </a>
          <div class="view-facts">
            <Fix dataset={dataset} item={item} edits={edits} />
            {suspicionInWords(item) && <p class="notice">{suspicionInWords(item)}</p>}
            <Facts item={item} nearGroup={nearGroup} />
            {dataset.examination && (
              <a class="button" href={similar(item)}>
                What looks like it
              </a>
            )}
          </div>
        </div>
      ) : (
        <Skeleton lines={8} />
      )}
      <div class="title">
        <button type="button" disabled={at === 0} onClick={() => go(at - 1)}>
          ← Before
        </button>
        <span class="quiet">
          {(at + 1).toLocaleString("en")} of {count(total, "image")}
        </span>
        <button type="button" disabled={at >= total - 1} onClick={() => go(at + 1)}>
          Next →
        </button>
      </div>
    </dialog>
  );
}

interface FixProps {
  dataset: Schemas["Dataset"];
  item: Item;
  edits: ReturnType<typeof useEdits>;
}

function Fix({ dataset, item, edits }: FixProps) {
  const { isRemoved } = editOf(edits.edits, item);
  const now = edits.edits.relabel[item.id]?.to ?? item.label;
  return (
    <>
      <label>
        Class
        <select
          value={now}
          disabled={isRemoved}
          onChange={(event) => edits.relabel(item, event.currentTarget.value)}
        >
          {dataset.classes.map(({ name }, number) => (
            <option key={name} value={name}>
              {number < 9 ? `${number + 1}  ${name}` : name}
            </option>
          ))}
        </select>
        {now !== item.label && <span class="help">It came as {item.label}.</span>}
      </label>
      <button type="button" aria-pressed={isRemoved} onClick={() => edits.toggle(item)}>
        {isRemoved ? "Keep it after all" : "Leave it out"}
      </button>
    </>
  );
}

function Facts({ item, nearGroup }: { item: Item; nearGroup: (group: string) => string }) {
  const facts: [string, preact.ComponentChildren][] = [
    ["Size", `${item.width} × ${item.height} pixels`],
    ["File", `${item.format.toUpperCase()}, ${bytes(item.bytes)}`],
  ];
  if (item.split) facts.push(["Split", item.split]);
  if (item.group) facts.push(["Group", item.group]);
  if (item.near_group)
    facts.push([
      "Near-duplicates",
      <a key="near" href={nearGroup(item.near_group)}>
        show them
      </a>,
    ]);
  if (item.similarity != null) facts.push(["Likeness", decimal(item.similarity)]);
  if (item.notes.length > 0) facts.push(["To be read", item.notes.join(", ")]);
  facts.push(["Id", <code key="id">{item.id}</code>]);
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
