import { api, ask } from "../api/client";
import { Undoable } from "./undo";

/** Makes the champion before this one the champion again, with a reason. */
export function RollBack({ product, changed }: { product: string; changed: () => void }) {
  return (
    <Undoable
      button="Roll back"
      title="Back to the champion before"
      confirm="Roll back"
      act={async (reason) => {
        await ask(
          api.POST("/products/{product}/rollback", {
            params: { path: { product } },
            body: { alias: "champion", reason },
          }),
        );
        changed();
      }}
    >
      <p>The champion before this one answers from now on. You can promote this one again.</p>
    </Undoable>
  );
}
