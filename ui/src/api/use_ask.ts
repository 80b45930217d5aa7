import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { AskError } from "./client";

export interface Asked<T> {
  /** The newest answer; kept while it is asked again, and while the server is away. */
  value: T | undefined;
  error: AskError | undefined;
  isLoading: boolean;
  again: () => void;
}

interface Options<T> {
  /** Milliseconds until it is asked again by itself; null: never. */
  every?: (value: T | undefined) => number | null;
  /** What makes it ask again while the answer before is still shown: what changes about the same thing. */
  as?: unknown;
}

/** How long a page waits before it asks a server that is away once more, in milliseconds. */
const AWAY = 3000;
/** The same for a key that has reached its limit. */
const LIMITED = 15_000;

/**
 * Asks once, and again where `keys` change.
 *
 * A page that nobody looks at asks nothing: it goes on when it is shown.
 */
export function useAsk<T>(
  question: (signal: AbortSignal) => Promise<T>,
  keys: readonly unknown[],
  { every, as }: Options<T> = {},
): Asked<T> {
  const key = JSON.stringify(keys);
  const turn = JSON.stringify(as);
  const [state, setState] = useState<{ key: string; value?: T; error?: AskError; isLoading: boolean }>({
    key,
    isLoading: true,
  });
  const [round, setRound] = useState(0);
  const latest = useRef({ question, every });
  latest.current = { question, every };

  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = (milliseconds: number) => {
      timer = setTimeout(() => (document.hidden ? later(milliseconds) : go()), milliseconds);
    };
    const go = async () => {
      try {
        const value = await latest.current.question(stop.signal);
        if (stop.signal.aborted) return;
        setState({ key, value, isLoading: false });
        const pause = latest.current.every?.(value) ?? null;
        if (pause !== null) later(pause);
      } catch (error) {
        if (stop.signal.aborted) return;
        if (!(error instanceof AskError)) throw error;
        setState((old) => ({ key, value: old.key === key ? old.value : undefined, error, isLoading: false }));
        if (error.status === 0 || error.status >= 500) later(AWAY);
        if (error.status === 429) later(LIMITED);
      }
    };
    setState((old) => (old.key === key ? { ...old, isLoading: true } : { key, isLoading: true }));
    void go();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, round, turn]);

  const again = useCallback(() => setRound((old) => old + 1), []);
  const isCurrent = state.key === key;
  return {
    value: isCurrent ? state.value : undefined,
    error: isCurrent ? state.error : undefined,
    isLoading: !isCurrent || state.isLoading,
    again,
  };
}
