import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Confirm } from "./confirm";

interface Props {
  button: string;
  title: string;
  confirm: string;
  isSmall?: boolean;
  children: ComponentChildren;
  act: (reason: string) => Promise<void>;
}

/** A move of an alias: it can be taken back, and the reason stands in its history. */
export function Undoable({ button, title, confirm, isSmall, children, act }: Props) {
  const [reason, setReason] = useState("");
  return (
    <Confirm button={button} title={title} confirm={confirm} isSmall={isSmall} act={() => act(reason.trim())}>
      {children}
      <label>
        Why
        <input
          value={reason}
          required
          maxLength={1000}
          onInput={(event) => setReason(event.currentTarget.value)}
        />
        <span class="help">It stands in the history of the alias.</span>
      </label>
    </Confirm>
  );
}
