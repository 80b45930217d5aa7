import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { Confirm } from "./confirm";
import { bytes, percent } from "./numbers";

type Product = Schemas["Product"];
interface Props {
  product: Product;
  changed: () => void;
}

/** A product's name, what it promises, what its champions must reach; and its end. */
export function ProductSettings({ product, changed }: Props) {
  return (
    <section class="card">
      <h2>This product</h2>
      <dl class="facts">
        {factsOf(product).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="row">
        <Change product={product} changed={changed} />
        <Delete product={product} changed={changed} />
      </div>
    </section>
  );
}

function factsOf({ id, gate, promise, default_network }: Product): [string, string][] {
  const facts: [string, string][] = [
    ["Programs call it", id],
    ["Network", default_network ?? "the usual one"],
    ["Most wrong among the accepted", percent(promise.max_error)],
    ["Least accuracy of a champion", gate.min_accuracy == null ? "none" : percent(gate.min_accuracy)],
  ];
  for (const [label, floor] of Object.entries(gate.min_recall ?? {}))
    facts.push([`Least recall of ${label}`, percent(floor)]);
  if (gate.max_bytes != null) facts.push(["Largest model", bytes(gate.max_bytes)]);
  if (gate.max_milliseconds != null) facts.push(["Slowest prediction", `${gate.max_milliseconds} ms`]);
  return facts;
}

function Change({ product, changed }: Props) {
  const [name, setName] = useState(product.name);
  const [wrong, setWrong] = useState(String(product.promise.max_error * 100));
  const [least, setLeast] = useState(
    product.gate.min_accuracy == null ? "" : String(product.gate.min_accuracy * 100),
  );
  return (
    <Confirm
      button="Change"
      title={`Change ${product.name}`}
      confirm="Change it"
      act={async () => {
        await ask(
          api.PATCH("/products/{product}", {
            params: { path: { product: product.id } },
            body: {
              name: name.trim(),
              promise: { max_error: Number(wrong) / 100 },
              gate: { min_accuracy: least === "" ? null : Number(least) / 100 },
            },
          }),
        );
        changed();
      }}
    >
      <label>
        Name
        <input
          value={name}
          required
          maxLength={200}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <label>
        Most wrong among the accepted, in percent
        <input
          type="number"
          min="0.1"
          max="50"
          step="any"
          required
          value={wrong}
          onInput={(event) => setWrong(event.currentTarget.value)}
        />
        <span class="help">
          A model rejects answers so that this holds; without enough images it promises less.
        </span>
      </label>
      <label>
        Least test accuracy of a champion, in percent
        <input
          type="number"
          min="0"
          max="100"
          step="any"
          value={least}
          onInput={(event) => setLeast(event.currentTarget.value)}
        />
        <span class="help">Empty: none. Models of trainings from now on must reach it.</span>
      </label>
    </Confirm>
  );
}

function Delete({ product, changed }: Props) {
  const { route } = useLocation();
  return (
    <Confirm
      button="Delete"
      title={`Delete ${product.name}?`}
      confirm={`Delete ${product.id} with all it has`}
      kind="danger"
      act={async () => {
        await ask(
          api.DELETE("/products/{product}", {
            params: { path: { product: product.id }, query: { force: true } },
          }),
        );
        changed();
        route(page(""));
      }}
    >
      <p>Its datasets, jobs and models go with it. This cannot be undone.</p>
    </Confirm>
  );
}
