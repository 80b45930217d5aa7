import type { ComponentChildren } from "preact";

/** Where nothing is yet: what this place is for, and the one thing to do. */
export function Empty({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <div class="empty">
      <p>
        <b>{title}</b>
      </p>
      {children}
    </div>
  );
}
