import { useEffect } from "preact/hooks";
import { page, unreachable } from "../api/client";
import { Problem } from "./problem";

/** How often it looks whether the server is back, in milliseconds. */
const PAUSE = 3000;

/**
 * In place of a page whose script did not come: the server is away, or a newer release has other scripts.
 * It loads everything anew as soon as the server answers.
 */
export function Unloaded() {
  useEffect(() => {
    const timer = setInterval(async () => {
      const answer = await fetch(page(""), { cache: "no-store" }).catch(() => undefined);
      if (answer?.ok) location.reload();
    }, PAUSE);
    return () => clearInterval(timer);
  }, []);
  return (
    <main>
      <h1>{document.title}</h1>
      <Problem error={unreachable()} />
    </main>
  );
}
