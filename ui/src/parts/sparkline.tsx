import { percent } from "./numbers";

/** Shares from 0 to 1 in their order, the last one as a dot. */
export function Sparkline({ values, label }: { values: number[]; label: string }) {
  if (values.length < 2) return null;
  const low = Math.min(...values);
  const range = Math.max(Math.max(...values) - low, 0.01);
  const points = values.map((value, at): [number, number] => [
    2 + (at / (values.length - 1)) * 96,
    22 - ((value - low) / range) * 20,
  ]);
  const last = points[points.length - 1] as [number, number];
  const words = `${label}: ${values.map((value) => percent(value)).join(", ")}`;
  return (
    <svg class="sparkline" viewBox="0 0 100 24" role="img" aria-label={words}>
      <title>{words}</title>
      <polyline points={points.map((point) => point.join(",")).join(" ")} />
      <circle cx={last[0]} cy={last[1]} r="2" />
    </svg>
  );
}
