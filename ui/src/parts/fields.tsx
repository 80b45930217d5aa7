/** A form made from the published document: every setting with its words, its range and its default. */
import { apiRoot } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";

interface Schema {
  title?: string;
  description?: string;
  type?: string;
  enum?: string[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  anyOf?: Schema[];
}

export type Values = Record<string, unknown>;

interface Props {
  /** A name in `components.schemas` of the document. */
  of: string;
  /** Fields that the page asks for itself. */
  without: readonly string[];
  values: Values;
  change: (values: Values) => void;
}

export function Fields({ of, without, values, change }: Props) {
  const state = useAsk(() => readSchema(of), [of]);
  const set = (name: string, value: unknown) => {
    const { [name]: _, ...others } = values;
    change(value === undefined ? others : { ...others, [name]: value });
  };
  return (
    <Asked state={state} lines={8}>
      {(properties) => (
        <div class="fields">
          {Object.entries(properties)
            .filter(([name]) => !without.includes(name))
            .map(([name, schema]) => {
              const simple = simpleOf(schema);
              return (
                simple && (
                  <Field
                    key={name}
                    name={name}
                    schema={simple}
                    value={values[name]}
                    set={(value) => set(name, value)}
                  />
                )
              );
            })}
        </div>
      )}
    </Asked>
  );
}

async function readSchema(name: string): Promise<Record<string, Schema>> {
  const answer = await fetch(`${apiRoot}/openapi.json`);
  const document = await answer.json();
  return document.components.schemas[name].properties;
}

/** The one form of a setting that a field can have; undefined for what needs a file of its own, such as weights a class. */
function simpleOf(schema: Schema): Schema | undefined {
  const forms = (schema.anyOf ?? [schema]).flatMap((form) => form.anyOf ?? [form]);
  const form = forms.find(
    ({ type }) => type !== undefined && type !== "null" && type !== "object" && type !== "array",
  );
  return form && { ...form, description: schema.description, default: schema.default };
}

interface FieldProps {
  name: string;
  schema: Schema;
  value: unknown;
  set: (value: unknown) => void;
}

function Field({ name, schema, value, set }: FieldProps) {
  const words = name.replaceAll("_", " ");
  const usual =
    schema.default === undefined || schema.default === null ? "chosen for you" : String(schema.default);
  const help = <span class="help">{schema.description}</span>;
  if (schema.enum || schema.type === "boolean") {
    const choices = schema.enum ?? ["true", "false"];
    return (
      <label>
        {words}
        <select
          value={value === undefined ? "" : String(value)}
          onChange={({ currentTarget: { value } }) =>
            set(value === "" ? undefined : schema.type === "boolean" ? value === "true" : value)
          }
        >
          <option value="">{usual}</option>
          {choices
            .filter((choice) => choice !== usual)
            .map((choice) => (
              <option key={choice}>{choice}</option>
            ))}
        </select>
        {help}
      </label>
    );
  }
  if (schema.type === "number" || schema.type === "integer") {
    return (
      <label>
        {words}
        <input
          type="number"
          step={schema.type === "integer" ? 1 : "any"}
          min={schema.minimum ?? schema.exclusiveMinimum}
          max={schema.maximum ?? schema.exclusiveMaximum}
          placeholder={usual}
          value={value === undefined ? "" : String(value)}
          onInput={({ currentTarget: { value } }) => set(value === "" ? undefined : Number(value))}
        />
        {help}
      </label>
    );
  }
  return (
    <label>
      {words}
      <input
        placeholder={usual}
        value={value === undefined ? "" : String(value)}
        onInput={({ currentTarget: { value } }) => set(value || undefined)}
      />
      {help}
    </label>
  );
}
