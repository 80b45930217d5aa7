import { useRef, useState } from "preact/hooks";
import { apiRoot } from "../api/client";

export interface Command {
  /** What it gets or does, in a few words. */
  what: string;
  /** Arguments of curl; `{api}` stands for the API's address. */
  curl: string;
}

/** A button that shows how the page's content is had with curl. */
export function Curl({ commands }: { commands: Command[] }) {
  const dialog = useRef<HTMLDialogElement>(null);
  return (
    <>
      <button type="button" class="small" onClick={() => dialog.current?.showModal()}>
        curl
      </button>
      <dialog ref={dialog} aria-label="With curl">
        <h2>With curl</h2>
        <p class="quiet">
          All that this page shows comes from the HTTP API. Where the server asks for a key, add{" "}
          <code>-H "Authorization: Bearer KEY"</code>.
        </p>
        {commands.map(({ what, curl }) => (
          <Line key={what} what={what} text={`curl ${curl.replaceAll("{api}", location.origin + apiRoot)}`} />
        ))}
        <form method="dialog">
          <button type="submit">Close</button>
        </form>
      </dialog>
    </>
  );
}

function Line({ what, text }: { what: string; text: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  return (
    <div class="curl">
      <p>{what}</p>
      <pre tabIndex={0}>{text}</pre>
      {"clipboard" in navigator && (
        <button type="button" class="small" onClick={copy}>
          {isCopied ? "Copied" : "Copy"}
        </button>
      )}
    </div>
  );
}
