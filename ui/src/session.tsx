/** Signing a browser in and out: its key becomes a cookie that no script can read. */
import { useEffect, useState } from "preact/hooks";
import { type AskError, api, ask, needsKey } from "./api/client";
import { useAct } from "./api/use_act";
import { useAsk } from "./api/use_ask";
import { ProblemText } from "./parts/problem";

export function SignIn() {
  const [key, setKey] = useState("");
  const { go, error, isBusy } = useAct(async () => {
    await ask(api.POST("/session", { body: { key } }));
    location.reload();
  });
  useEffect(() => {
    document.title = "Sign in · Loupe";
  }, []);
  return (
    <main class="sign-in">
      <h1>Loupe</h1>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <label>
          This server asks for a key.
          <input
            type="password"
            autocomplete="current-password"
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <button type="submit" class="main" disabled={isBusy}>
          Sign in
        </button>
        {error && <ProblemText problem={inWords(error)} />}
      </form>
    </main>
  );
}

function inWords(error: AskError) {
  return error.status === 401
    ? {
        title: "The server does not know this key, or it has expired.",
        hint: "Ask whoever runs Loupe for one.",
      }
    : error.problem;
}

/** Who is signed in, and the way out; nothing where the server asks for no key. */
export function SignOut() {
  const who = useAsk((signal) => ask(api.GET("/session", { signal })), []);
  const { go, isBusy } = useAct(async () => {
    await ask(api.DELETE("/session"));
    needsKey.dispatchEvent(new Event("needed"));
  });
  if (who.value?.expires_at == null) return null;
  return (
    <span class="signed-in">
      {who.value.name}
      <button type="button" class="small" disabled={isBusy} onClick={() => void go()}>
        Sign out
      </button>
    </span>
  );
}
