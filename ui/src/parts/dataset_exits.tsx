import { useState } from "preact/hooks";
import { useLocation } from "preact-iso";
import { AskError, api, ask, file, page, type Schemas } from "../api/client";
import { Confirm } from "./confirm";
import { JobWay } from "./job_way";

/** A tar of the original files in class folders, made by a job. */
export function Export({ dataset }: { dataset: string }) {
  const [job, setJob] = useState<string>();
  const [isDone, setDone] = useState(false);
  return (
    <>
      <Confirm
        button="Export"
        title="Export this dataset"
        confirm="Export"
        act={async () => {
          const path = { dataset };
          const made = await ask(
            api.POST("/datasets/{dataset}/exports", { params: { path }, body: { format: "folders" } }),
          );
          setDone(false);
          setJob(made.id);
        }}
      >
        <p>A tar of the original files in class folders, as they came.</p>
      </Confirm>
      {job && <JobWay job={job} words="The export" done={() => setDone(true)} />}
      {job && isDone && (
        <a class="button" href={file(`/datasets/${dataset}/exports/${job}`)} download target="_self">
          Download the tar
        </a>
      )}
    </>
  );
}

/** What refers to it is named before that goes too. */
export function Delete({ dataset }: { dataset: Schemas["Dataset"] }) {
  const { route } = useLocation();
  const [refusal, setRefusal] = useState<AskError>();
  // What no force deletes, such as a model that answers, stays in the way whatever is pressed.
  const isForced = refusal?.problem.hint?.includes("force") ?? false;
  const [only, ...others] = refusal?.problem.errors ?? [];
  return (
    <Confirm
      button="Delete"
      title={`Delete ${dataset.source}?`}
      confirm={isForced ? "Delete all of these with it" : "Delete it"}
      kind="danger"
      // Whoever opens it again is told anew what goes too.
      closed={() => setRefusal(undefined)}
      act={async () => {
        try {
          await ask(
            api.DELETE("/datasets/{dataset}", {
              params: { path: { dataset: dataset.id }, query: { force: isForced } },
            }),
          );
        } catch (error) {
          // The dialog shows what refers to it; the next press deletes that too.
          if (error instanceof AskError && error.status === 409) setRefusal(error);
          throw error;
        }
        route(page(`/products/${dataset.product}`));
      }}
    >
      <p>
        Its images go, unless another dataset has them too. If jobs, models or evaluations refer to it, they
        are named first. This cannot be undone.
      </p>
      {only && others.length === 0 && (
        <p>
          <code>{only.pointer}</code> {only.message}
        </p>
      )}
    </Confirm>
  );
}
