import { count, percent } from "./numbers";

/** A measured share with the interval in which the true one lies, at 95 % confidence. */
export interface Estimate {
  value: number;
  /** Both null where no interval was measured. */
  low: number | null;
  high: number | null;
}

/** Of a loosely typed section of an answer, such as `metrics.accuracy`. */
export function estimateOf(section: unknown, name: string): Estimate | undefined {
  const found = (section as Record<string, unknown> | null | undefined)?.[name];
  const isEstimate = typeof found === "object" && found !== null && "low" in found && "high" in found;
  return isEstimate ? (found as Estimate) : undefined;
}

/** Below so many images a share is shown weaker: it says little. */
const FEW = 30;

/** `97.3 % (95 to 98.4 %)`, and of how many images. */
export function Share({ of, items }: { of: Estimate; items?: number }) {
  const isWeak = items !== undefined && items < FEW;
  return (
    <span class={isWeak ? "share weak" : "share"}>
      <b>{percent(of.value)}</b> <span class="interval">{around(of, items)}</span>
    </span>
  );
}

/** `(95 to 98.4 %, of 300 images)`, as far as it is known. */
function around({ low, high }: Estimate, items: number | undefined): string {
  const parts = [
    low !== null && high !== null && `${percent(low)} to ${percent(high)}`,
    items !== undefined && `of ${count(items, "image")}`,
  ].filter(Boolean);
  return parts.length > 0 ? `(${parts.join(", ")})` : "";
}

/** The interval drawn as a band from 0 to 100 %. Words stand beside it, so it is hidden from readers. */
export function Band({ of }: { of: Estimate }) {
  const { low, high } = { low: of.low ?? of.value, high: of.high ?? of.value };
  return (
    <svg class="band" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="band-all" x="0" y="3" width="100" height="2" />
      <rect class="band-range" x={low * 100} y="1" width={Math.max((high - low) * 100, 0.5)} height="6" />
      <rect class="band-value" x={of.value * 100 - 0.4} y="0" width="0.8" height="8" />
    </svg>
  );
}
