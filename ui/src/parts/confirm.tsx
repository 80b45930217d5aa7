import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { useAct } from "../api/use_act";
import { Problem } from "./problem";

interface ConfirmProps {
  /** Words of the button that opens the dialog. */
  button: string;
  title: string;
  /** Words of the button that does it. */
  confirm: string;
  kind?: "main" | "danger" | "plain";
  isSmall?: boolean;
  children?: ComponentChildren;
  /** Called when the dialog closes, whatever was pressed. */
  closed?: () => void;
  /** Throws AskError, which the dialog shows. */
  act: () => Promise<void>;
}

/** A button that says what will happen before it does it. */
export function Confirm(props: ConfirmProps) {
  const { button, kind = "plain", isSmall } = props;
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button type="button" class={isSmall ? `${kind} small` : kind} onClick={() => setOpen(true)}>
        {button}
      </button>
      {isOpen && (
        <Question
          {...props}
          close={() => {
            setOpen(false);
            props.closed?.();
          }}
        />
      )}
    </>
  );
}

function Question({ title, confirm, kind, children, act, close }: ConfirmProps & { close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { go, error, isBusy } = useAct(act);
  useEffect(() => dialog.current?.showModal(), []);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (await go()) dialog.current?.close();
  };
  return (
    <dialog ref={dialog} aria-label={title} onClose={close}>
      <form onSubmit={(event) => void submit(event)}>
        <h2>{title}</h2>
        {children}
        {error && <Problem error={error} />}
        <div class="row">
          <button type="submit" class={kind === "danger" ? "danger" : "main"} disabled={isBusy}>
            {confirm}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            Not now
          </button>
        </div>
      </form>
    </dialog>
  );
}

interface ActProps {
  words: string;
  kind?: "main" | "plain";
  act: () => Promise<void>;
}

/** A button that acts at once, since what it does can be undone or does no harm. */
export function Act({ words, kind = "plain", act }: ActProps) {
  const { go, error, isBusy } = useAct(act);
  return (
    <>
      <button type="button" class={kind} disabled={isBusy} onClick={() => void go()}>
        {words}
      </button>
      {error && <Problem error={error} />}
    </>
  );
}
