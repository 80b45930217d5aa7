/** How pages write numbers and times: with a unit, in the reader's zone. */

const whole = new Intl.NumberFormat("en");

export function count(number: number, one: string, several = `${one}s`): string {
  return `${whole.format(number)} ${number === 1 ? one : several}`;
}

/** `97.3 %`; never `100 %` for what is less, nor `0 %` for what is more. */
export function percent(share: number, digits = 1): string {
  const shown = (share * 100).toFixed(digits);
  const isRounded = (share < 1 && Number(shown) === 100) || (share > 0 && Number(shown) === 0);
  if (isRounded && digits < 6) return percent(share, digits + 1);
  return `${trim(shown)} %`;
}

function trim(shown: string): string {
  return shown.includes(".") ? shown.replace(/\.?0+$/, "") : shown;
}

export function decimal(number: number, digits = 3): string {
  return Number.isFinite(number) ? trim(number.toPrecision(digits)) : "–";
}

export function bytes(number: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  let rest = number;
  while (rest >= 1000 && at < units.length - 1) {
    rest /= 1000;
    at += 1;
  }
  return `${at === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[at]}`;
}

/** `45 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const all = Math.max(0, Math.round(seconds));
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min${all % 60 ? ` ${all % 60} s` : ""}`;
  return `${Math.floor(all / 3600)} h${all % 3600 >= 60 ? ` ${Math.floor((all % 3600) / 60)} min` : ""}`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** `3 minutes ago`, `yesterday`; from a month on the date. */
export function ago(time: string, now = Date.now()): string {
  const seconds = (Date.parse(time) - now) / 1000;
  const steps: [Intl.RelativeTimeFormatUnit, number][] = [
    ["second", 60],
    ["minute", 60],
    ["hour", 24],
    ["day", 31],
  ];
  let rest = seconds;
  for (const [unit, size] of steps) {
    if (Math.abs(rest) < size) return relative.format(Math.round(rest), unit);
    rest /= size;
  }
  return moment(time);
}

/** Date and time in the reader's zone and manner. */
export function moment(time: string): string {
  return absolute.format(new Date(time));
}
