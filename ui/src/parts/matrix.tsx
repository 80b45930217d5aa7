import { useRef } from "preact/hooks";
import { count } from "./numbers";

export interface Cell {
  true: string;
  predicted: string;
}

interface Props {
  labels: string[];
  /** Images by true class, then by answer. */
  counts: number[][];
  chosen: Cell | undefined;
  choose: (cell: Cell | undefined) => void;
}

/** More classes than this are shown as a list of confusions: a matrix of them could not be read. */
export const MOST = 25;

/** A confusion matrix whose cells are buttons; arrows move between them. */
export function Matrix({ labels, counts, chosen, choose }: Props) {
  const table = useRef<HTMLTableElement>(null);
  const move = (event: KeyboardEvent, row: number, column: number) => {
    const [down, right] = STEPS[event.key] ?? [0, 0];
    if (down === 0 && right === 0) return;
    const next = table.current?.querySelector<HTMLElement>(`[data-cell="${row + down},${column + right}"]`);
    if (next) {
      event.preventDefault();
      next.focus();
    }
  };
  return (
    <div class="scroll">
      <table class="matrix" ref={table}>
        <caption class="help">
          Rows: what it is. Columns: what the model answered. A cell shows its pictures.
        </caption>
        <thead>
          <tr>
            <td />
            {labels.map((label) => (
              <th key={label} scope="col">
                {label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {labels.map((label, row) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              {labels.map((answer, column) => {
                const images = counts[row]?.[column] ?? 0;
                const isChosen = chosen?.true === label && chosen.predicted === answer;
                const kind = images === 0 ? "none" : row === column ? "right" : "wrong";
                return (
                  <td key={answer}>
                    <button
                      type="button"
                      class={`cell ${kind}`}
                      data-cell={`${row},${column}`}
                      tabIndex={row === 0 && column === 0 ? 0 : -1}
                      aria-pressed={isChosen}
                      aria-label={`${label} answered as ${answer}: ${count(images, "image")}`}
                      onKeyDown={(event) => move(event, row, column)}
                      onClick={() => choose(isChosen ? undefined : { true: label, predicted: answer })}
                    >
                      {images || "·"}
                    </button>
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const STEPS: Record<string, [down: number, right: number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

/** The confusions of many classes, the most frequent first. */
export function Confusions({ labels, counts, chosen, choose }: Props) {
  const found = labels
    .flatMap((label, row) =>
      labels.map((answer, column) => ({
        true: label,
        predicted: answer,
        images: counts[row]?.[column] ?? 0,
        isRight: row === column,
      })),
    )
    .filter(({ images, isRight }) => images > 0 && !isRight)
    .sort((one, other) => other.images - one.images)
    .slice(0, 30);
  if (found.length === 0) return <p>No image was answered wrong.</p>;
  return (
    <ul class="links">
      {found.map((one) => {
        const isChosen = chosen?.true === one.true && chosen.predicted === one.predicted;
        return (
          <li key={`${one.true} ${one.predicted}`}>
            <button
              type="button"
              class="small"
              aria-pressed={isChosen}
              onClick={() => choose(isChosen ? undefined : { true: one.true, predicted: one.predicted })}
            >
              {one.true} answered as {one.predicted}
            </button>
            <span class="end">{count(one.images, "image")}</span>
          </li>
        );
      })}
    </ul>
  );
}
