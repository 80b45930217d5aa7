import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { decimal } from "./numbers";

export interface Line {
  label: string;
  /** As many as `x`; null where there is none. */
  values: (number | null)[];
  /** Which of the line colours, from 0; the same thing has the same colour on every page. */
  colour: number;
  isDashed?: boolean;
}

interface Props {
  /** What it shows, for who cannot see it and as the name of the file. */
  title: string;
  x: number[];
  xLabel: string;
  yLabel: string;
  lines: Line[];
  /** The range of the vertical axis; what the lines need where it is not given. */
  range?: [number, number];
  format?: (value: number) => string;
  /** Charts with the same word share their cursor. */
  sync?: string;
}

const HEIGHT = 260;

/** Lines over one axis: a cursor that reads out values, a table behind it, and CSV to take away. */
export function Chart(props: Props) {
  const { title, x, lines, xLabel, format = decimal } = props;
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  // The lines and their names decide about the drawing; values alone are put into the one that is there.
  const shape = JSON.stringify([
    title,
    lines.map(({ label, colour }) => [label, colour]),
    props.range,
    props.yLabel,
  ]);

  const newest = useRef(props);
  newest.current = props;
  useEffect(() => {
    const element = place.current;
    if (element === null) return;
    const draw = () => {
      plot.current?.destroy();
      // Not the props of this effect: the scheme may change long after the last point came.
      plot.current = new uPlot(optionsOf(newest.current, element), dataOf(newest.current), element);
    };
    draw();
    const resize = new ResizeObserver(() =>
      plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }),
    );
    resize.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", draw);
    return () => {
      scheme.removeEventListener("change", draw);
      resize.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => plot.current?.setData(dataOf(props)), [x, lines]);

  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={place} class="plot" aria-hidden="true" />
      <details>
        <summary class="small">As a table</summary>
        <div class="scroll table-behind" tabIndex={0}>
          <table>
            <caption class="hidden">{title}</caption>
            <thead>
              <tr>
                <th class="number">{xLabel}</th>
                {lines.map(({ label }) => (
                  <th key={label} class="number">
                    {label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {thinned(x.length).map((at) => (
                <tr key={at}>
                  <td class="number">{decimal(x[at] ?? Number.NaN, 6)}</td>
                  {lines.map(({ label, values }) => (
                    <td key={label} class="number">
                      {values[at] == null ? "" : format(values[at])}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <a class="button small" download={`${title}.csv`} href={csvOf(props)}>
          CSV
        </a>
      </details>
    </figure>
  );
}

/** Rows of a table, at most about a hundred, the last one among them. */
function thinned(length: number): number[] {
  const step = Math.ceil(length / 100);
  return Array.from({ length }, (_, at) => at).filter((at) => at % step === 0 || at === length - 1);
}

function csvOf({ x, xLabel, lines }: Props): string {
  const rows = [
    [xLabel, ...lines.map(({ label }) => label)],
    ...x.map((at, row) => [at, ...lines.map(({ values }) => values[row] ?? "")]),
  ];
  return `data:text/csv;charset=utf-8,${encodeURIComponent(rows.map((row) => row.map(cell).join(",")).join("\r\n"))}`;
}

function cell(value: string | number): string {
  return typeof value === "string" && /[",\n]/.test(value)
    ? `"${value.replaceAll('"', '""')}"`
    : String(value);
}

function dataOf({ x, lines }: Props): uPlot.AlignedData {
  return [x, ...lines.map(({ values }) => values)];
}

function optionsOf(
  { xLabel, yLabel, lines, range, format = decimal, sync }: Props,
  element: HTMLElement,
): uPlot.Options {
  const style = getComputedStyle(element);
  // The computed value: a canvas does not know light-dark().
  const ink = (name: string) => {
    element.style.color = `var(${name})`;
    const colour = style.color;
    element.style.color = "";
    return colour;
  };
  const axis = {
    stroke: ink("--quiet"),
    grid: { stroke: ink("--raised") },
    ticks: { stroke: ink("--line") },
  };
  const font = `13px ${style.fontFamily}`;
  return {
    width: element.clientWidth,
    height: HEIGHT,
    cursor: { sync: sync ? { key: sync } : undefined, drag: { x: true, y: false } },
    scales: { x: { time: false }, y: range ? { range } : {} },
    axes: [
      { ...axis, label: xLabel, labelSize: 24, font, labelFont: font },
      {
        ...axis,
        label: yLabel,
        labelSize: 24,
        size: 64,
        font,
        labelFont: font,
        values: (_, ticks) => ticks.map((tick) => format(tick)),
      },
    ],
    series: [
      { label: xLabel },
      ...lines.map(({ label, colour, isDashed }) => ({
        label,
        stroke: ink(`--line-${colour % 6}`),
        width: 2,
        dash: isDashed ? [6, 4] : undefined,
        spanGaps: true,
        value: (_: uPlot, value: number | null) => (value === null ? "–" : format(value)),
      })),
    ],
  };
}
