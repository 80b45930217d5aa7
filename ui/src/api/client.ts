/** The public HTTP API, typed by its document. Pages have no other way to the server. */
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];

/** The path under which a proxy shows this server; empty without one. */
export const root = document.body.dataset.root ?? "";
export const apiRoot = `${root}/v1`;

export const api = createClient<paths>({ baseUrl: apiRoot });

/** What the server refused, or that it did not answer. */
export class AskError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Partial<Problem> & { title: string },
  ) {
    super(problem.detail ?? problem.title);
  }
}

type Answer<T> = Promise<{ data?: T; error?: unknown; response: Response }>;

/** The answer's content, where it is JSON: some routes answer text too, if asked for. Throws AskError. */
export async function ask<T>(answer: Answer<T>): Promise<Exclude<T, string>> {
  let got: Awaited<Answer<T>>;
  try {
    got = await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (!got.response.ok) throw refused(got.response.status, got.error);
  return got.data as Exclude<T, string>;
}

export function refused(status: number, problem: unknown): AskError {
  if (status === 401) needsKey.dispatchEvent(new Event("needed"));
  const isProblem = typeof problem === "object" && problem !== null && "title" in problem;
  return new AskError(
    status,
    isProblem ? (problem as Problem) : { title: `The server answered with the status ${status}.` },
  );
}

export function unreachable(): AskError {
  return new AskError(0, {
    title: "The server does not answer.",
    hint: "Is it running? This page goes on by itself once it is back.",
  });
}

/** Tells whoever shows the page to sign in that the server asks for a key. */
export const needsKey = new EventTarget();

/** The address of a page; `path` begins with a slash. */
export function page(path: string): string {
  return `${root}/ui${path}`;
}

/** The address of something of the API for an `<img>` or a download; `path` as the API gives it. */
export function file(path: string): string {
  return path.startsWith("/v1/") ? root + path : apiRoot + path;
}
