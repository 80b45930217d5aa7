import type { ComponentChildren } from "preact";

export type Level = "error" | "warning" | "note";

const LEVELS: Record<Level, [kind: string, word: string]> = {
  error: ["bad", "Fault"],
  warning: ["look", "Look here"],
  note: ["off", "Note"],
};

interface Props {
  level: Level;
  /** What was found, as a sentence without its capital and its full stop. */
  words: string;
  advice: string;
  /** The numbers that show it. */
  evidence?: string;
  children?: ComponentChildren;
}

/** A finding of a dataset or of a training: how grave it is, by a shape and a word; what; what to do. */
export function Found({ level, words, advice, evidence, children }: Props) {
  const [kind, word] = LEVELS[level];
  return (
    <article class={`found found-${kind}`}>
      <div>
        <p>
          <span class={`state state-${kind}`}>
            <svg viewBox="0 0 12 12" aria-hidden="true">
              {kind === "bad" && <path d="M6 0 L12 12 H0 Z" />}
              {kind === "look" && <path d="M6 0 L12 6 L6 12 L0 6 Z" />}
              {kind === "off" && (
                <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="2" />
              )}
            </svg>
            {word}
          </span>{" "}
          <b>{sentence(words)}</b>
        </p>
        {evidence && <p>{evidence}</p>}
        <p class="quiet">{advice}</p>
      </div>
      {children}
    </article>
  );
}

function sentence(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}
