import { useEffect, useState } from "preact/hooks";
import { type AskError, api, ask, type Schemas } from "../api/client";
import { useAct } from "../api/use_act";
import { Drop } from "./drop";
import { decimal, percent } from "./numbers";
import { Problem } from "./problem";
import { State } from "./state";

type Target = { product: string } | { job: string } | { model: string };
type Answer = Schemas["Predictions"] & Partial<Schemas["PredictionItem"]>;

/** Drop a picture, or take one with the camera: the label, a bar each for the likeliest, and the decision. */
export function Ask(target: Target) {
  const [picture, setPicture] = useState<{ url: string; answer?: Answer; milliseconds?: number }>();
  useEffect(() => () => URL.revokeObjectURL(picture?.url ?? ""), [picture?.url]);
  const { go, error, isBusy } = useAct(async (file: File) => {
    const url = URL.createObjectURL(file);
    setPicture({ url });
    const form = new FormData();
    for (const [name, value] of Object.entries(target)) form.append(name, value);
    form.append("file", file);
    const began = performance.now();
    // The document describes the form's fields; the browser writes it.
    const answer = await ask(api.POST("/predict", { body: form as never, bodySerializer: (body) => body }));
    setPicture({ url, answer: answer as Answer, milliseconds: performance.now() - began });
  });
  return (
    <Drop
      words={picture ? "Another picture" : "Drop a picture here, or"}
      button="Choose a picture"
      accept="image/*"
      hasCamera
      isDisabled={isBusy}
      onFiles={([file]) => file && void go(file)}
    >
      {picture && (
        <div class="asked" aria-live="polite">
          <img src={picture.url} alt="What was asked about" />
          {picture.answer ? (
            <Result answer={picture.answer} milliseconds={picture.milliseconds ?? 0} />
          ) : (
            <Waiting error={error} />
          )}
        </div>
      )}
    </Drop>
  );
}

function Waiting({ error }: { error: AskError | undefined }) {
  return error ? <Problem error={error} /> : <p class="quiet">Looking…</p>;
}

const REASONS: Record<string, string> = {
  low_confidence: "it is not sure enough to keep its promise",
  ambiguous: "two labels are about as likely",
  out_of_distribution: "the picture is unlike those it was trained on",
};

function Result({ answer, milliseconds }: { answer: Answer; milliseconds: number }) {
  const { predictions = [], top, decision, reject_reason, scores, timing, warnings = [] } = answer;
  return (
    <div class="card">
      <p class="answer">{top?.label}</p>
      {decision && (
        <p>
          <State of={decision} />
          {decision === "reject" &&
            `: ${REASONS[reject_reason ?? ""] ?? reject_reason}. Have a person look at it.`}
        </p>
      )}
      <ul class="bars">
        {predictions.map(({ label, probability }) => (
          <li key={label}>
            <span class="name">{label}</span>
            <span>{percent(probability)}</span>
            <span class="track" aria-hidden="true">
              <span style={{ width: `${probability * 100}%` }} />
            </span>
          </li>
        ))}
      </ul>
      {scores && (
        <p class="quiet small">
          {scores.similarity != null && `Likeness to the training images ${decimal(scores.similarity)}. `}
          Version {answer.model.version} of {answer.model.product}; {decimal(timing?.inference_ms ?? 0)} ms to
          infer, {Math.round(milliseconds)} ms in all.
        </p>
      )}
      {warnings.map((warning) => (
        <p key={warning} class="quiet small">
          {warning}
        </p>
      ))}
    </div>
  );
}
