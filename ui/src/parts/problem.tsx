import type { AskError, Problem as ProblemDocument } from "../api/client";

/** An error as the server says it: what happened, what to do, where it stands in the log. */
export function Problem({ error, again }: { error: AskError; again?: () => void }) {
  return <ProblemText problem={error.problem} again={again} />;
}

export function ProblemText({ problem, again }: { problem: Partial<ProblemDocument>; again?: () => void }) {
  return (
    <div class="problem" role="alert">
      <p>
        <b>{problem.detail ?? problem.title}</b>
      </p>
      {problem.errors && problem.errors.length > 1 && (
        <ul>
          {problem.errors.map((one) => (
            <li key={one.pointer}>
              <code>{one.pointer}</code> {one.message}
            </li>
          ))}
        </ul>
      )}
      {problem.hint && <p>{problem.hint}</p>}
      <p class="quiet">
        {problem.request_id && (
          <>
            Request <code>{problem.request_id}</code>{" "}
          </>
        )}
        {again && (
          <button type="button" class="small" onClick={again}>
            Try again
          </button>
        )}
      </p>
    </div>
  );
}
