import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { page } from "../api/client";
import { type Command, Curl } from "./curl";

interface Props {
  title: string;
  /** What leads here, outermost first: the words of a link and its page. */
  crumbs?: [string, string][];
  /** Buttons beside the title. */
  actions?: ComponentChildren;
  curl: Command[];
  children: ComponentChildren;
}

/** The frame of every page: title, the way back, actions, curl. */
export function Page({ title, crumbs = [], actions, curl, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = title === "Loupe" ? title : `${title} · Loupe`;
  }, [title]);
  useEffect(() => {
    // A new page is read from its title on; the first one from where the browser begins.
    if (hasMoved) heading.current?.focus();
    hasMoved = true;
  }, []);
  return (
    <main>
      {crumbs.length > 0 && (
        <nav class="crumbs" aria-label="Where this is">
          {crumbs.map(([words, path]) => (
            <a key={path} href={page(path)}>
              {words}
            </a>
          ))}
        </nav>
      )}
      <header class="title">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        <div class="actions">
          {actions}
          <Curl commands={curl} />
        </div>
      </header>
      {children}
    </main>
  );
}

let hasMoved = false;
