import { useState } from "preact/hooks";
import { api, ask, file } from "../api/client";
import { useAsk } from "../api/use_ask";
import { Asked } from "./asked";
import type { Cell } from "./matrix";
import { percent } from "./numbers";

const STEP = 24;

/** Pictures of an evaluation: those of one cell of its matrix, else its mistakes, the surest first. */
export function Examples({ job, cell }: { job: string; cell: Cell | undefined }) {
  const [limit, setLimit] = useState(STEP);
  const query = cell ? { true: cell.true, predicted: cell.predicted } : { right: false };
  const state = useAsk(
    (signal) =>
      ask(
        api.GET("/jobs/{job}/evaluation/examples", {
          params: { path: { job }, query: { ...query, limit } },
          signal,
        }),
      ),
    [job, query],
    { as: limit },
  );
  return (
    <Asked state={state} lines={6}>
      {({ data, has_more }) => (
        <>
          {data.length === 0 && (
            <p>{cell ? "No picture is in this cell." : "No picture was answered wrong."}</p>
          )}
          <ul class="pictures">
            {data.map((one) => (
              <li key={one.item}>
                <a
                  href={file(one.image)}
                  target="_blank"
                  rel="noreferrer"
                  aria-label={`${one.name}, in full size`}
                >
                  <img
                    src={file(`${one.image}?size=192`)}
                    alt={one.name}
                    loading="lazy"
                    width="192"
                    height="192"
                  />
                </a>
                <span>
                  {one.predicted} {percent(one.probability)}
                </span>
                {one.true !== one.predicted && (
                  <span>
                    it is <b>{one.true}</b>
                  </span>
                )}
                <span class="quiet">{one.name}</span>
              </li>
            ))}
          </ul>
          {has_more && (
            <div class="row">
              <button type="button" onClick={() => setLimit(limit + STEP)}>
                More pictures
              </button>
            </div>
          )}
        </>
      )}
    </Asked>
  );
}
