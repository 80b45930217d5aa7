import { api, ask } from "./client";

/** What moved the champion of a product, newest first. */
export function askMoves(product: string, limit: number, signal: AbortSignal) {
  return ask(
    api.GET("/products/{product}/aliases/{name}/history", {
      params: { path: { product, name: "champion" }, query: { limit } },
      signal,
    }),
  );
}
