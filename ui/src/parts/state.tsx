const STATES: Record<string, [kind: string, word: string]> = {
  queued: ["waiting", "waiting"],
  importing: ["busy", "importing"],
  running: ["busy", "running"],
  paused: ["waiting", "paused"],
  succeeded: ["good", "done"],
  ready: ["good", "ready"],
  alive: ["good", "alive"],
  serving: ["good", "serving"],
  training: ["busy", "training"],
  failed: ["bad", "failed"],
  lost: ["bad", "lost"],
  cancelled: ["off", "cancelled"],
  well: ["good", "well"],
  look: ["look", "worth a look"],
  broken: ["bad", "broken"],
  accept: ["good", "accepted"],
  reject: ["look", "not accepted"],
  empty: ["look", "needs images"],
  untrained: ["look", "not trained yet"],
};

/** A shape and a word: colour alone would say nothing to some. */
export function State({ of }: { of: string }) {
  const [kind, word] = STATES[of] ?? ["off", of];
  return (
    <span class={`state state-${kind}`}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        {kind === "good" && <circle cx="6" cy="6" r="5" />}
        {kind === "busy" && <path d="M2 1 L11 6 L2 11 Z" />}
        {kind === "waiting" && <path d="M2 1 H5 V11 H2 Z M7 1 H10 V11 H7 Z" />}
        {kind === "bad" && <path d="M6 0 L12 12 H0 Z" />}
        {kind === "look" && <path d="M6 0 L12 6 L6 12 L0 6 Z" />}
        {kind === "off" && <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="2" />}
      </svg>
      {word}
    </span>
  );
}
