import { useState } from "preact/hooks";
import { AskError } from "./client";

/** Something a button does: whether it is under way, and why it failed. */
export function useAct<A extends unknown[]>(act: (...args: A) => Promise<void>) {
  const [error, setError] = useState<AskError>();
  const [isBusy, setBusy] = useState(false);
  const go = async (...args: A): Promise<boolean> => {
    setBusy(true);
    setError(undefined);
    try {
      await act(...args);
      return true;
    } catch (raised) {
      if (!(raised instanceof AskError)) throw raised;
      setError(raised);
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { go, error, isBusy };
}
