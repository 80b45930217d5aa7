import { useState } from "preact/hooks";
import { api, ask, type Schemas } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Undoable } from "./undo";

/** Makes a training's model the champion by hand, with a reason; says so where it is one. */
export function Promote({ job, changed }: { job: Schemas["Job"]; changed: () => void }) {
  const model = useAsk(
    (signal) => ask(api.GET("/models/{model}", { params: { path: { model: job.model ?? "" } }, signal })),
    [job.model],
  );
  if (!model.value) return null;
  return (
    <PromoteModel
      model={model.value}
      changed={() => {
        model.again();
        changed();
      }}
    />
  );
}

export function PromoteModel({
  model,
  changed,
  isSmall,
}: {
  model: Schemas["Model"];
  changed: () => void;
  isSmall?: boolean;
}) {
  const [isOverride, setOverride] = useState(false);
  if (model.aliases.includes("champion")) return <b>It is the champion.</b>;
  return (
    <Undoable
      button="Promote"
      title={`Version ${model.version} becomes the champion`}
      confirm="Promote"
      isSmall={isSmall}
      act={async (reason) => {
        await ask(
          api.PUT("/products/{product}/aliases/{name}", {
            params: { path: { product: model.product, name: "champion" } },
            body: { model: model.id, reason, override: isOverride },
          }),
        );
        changed();
      }}
    >
      <p>It answers predictions from now on. The product's page can roll it back.</p>
      {!model.passed_gate && (
        <label class="check">
          <input
            type="checkbox"
            required
            checked={isOverride}
            onChange={(event) => setOverride(event.currentTarget.checked)}
          />
          It did not pass its gate. Promote it all the same.
        </label>
      )}
    </Undoable>
  );
}
