/** `/ui/products/{product}/models`: who answers now, which is better, how do I go back? */
import { useRoute } from "preact-iso";
import { api, ask, page, type Schemas } from "../api/client";
import { askMoves } from "../api/moves";
import { useAsk } from "../api/use_ask";
import { Asked } from "../parts/asked";
import { Empty } from "../parts/empty";
import { Share } from "../parts/estimate";
import { count, decimal } from "../parts/numbers";
import { Page } from "../parts/page";
import { PromoteModel } from "../parts/promote";
import { RollBack } from "../parts/roll_back";
import { When } from "../parts/when";

export default function Models() {
  const { product } = useRoute().params as { product: string };
  const state = useAsk((signal) => gather(product, signal), [product]);
  return (
    <Page
      title="Models"
      crumbs={[
        ["Products", ""],
        [product, `/products/${product}`],
      ]}
      curl={[
        { what: "All models on the same images", curl: `{api}/products/${product}/leaderboard` },
        { what: "Who answers", curl: `{api}/products/${product}/aliases` },
        { what: "What moved the champion", curl: `{api}/products/${product}/aliases/champion/history` },
      ]}
    >
      <Asked state={state} lines={10}>
        {({ board, models, aliases, moves }) =>
          board.models.length === 0 ? (
            <Empty title="No model yet">
              <a class="button main" href={page(`/products/${product}/train`)}>
                Train
              </a>
            </Empty>
          ) : (
            <>
              <Aliases
                product={product}
                aliases={aliases}
                models={models}
                canRollBack={moves.length > 1}
                changed={state.again}
              />
              <Board board={board} models={models} changed={state.again} />
              <History moves={moves} models={models} />
            </>
          )
        }
      </Asked>
    </Page>
  );
}

async function gather(product: string, signal: AbortSignal) {
  const path = { product };
  const [board, models, aliases] = await Promise.all([
    ask(api.GET("/products/{product}/leaderboard", { params: { path, query: { limit: 50 } }, signal })),
    ask(api.GET("/models", { params: { query: { product, limit: 100 } }, signal })),
    ask(api.GET("/products/{product}/aliases", { params: { path }, signal })),
  ]);
  // A name that never stood for a model has no history.
  const hasMoves = aliases.some(({ name }) => name === "champion");
  const moves = hasMoves ? await askMoves(product, 20, signal) : { data: [] };
  return { board, models: models.data, aliases, moves: moves.data };
}

function versionOf(models: Schemas["Model"][], id: string | null): string {
  if (id === null) return "none";
  const model = models.find((one) => one.id === id);
  return model ? `version ${model.version}` : id;
}

interface AliasesProps {
  product: string;
  aliases: Schemas["Alias"][];
  models: Schemas["Model"][];
  canRollBack: boolean;
  changed: () => void;
}

function Aliases({ product, aliases, models, canRollBack, changed }: AliasesProps) {
  return (
    <section class="card">
      <h2>Who answers</h2>
      <ul class="links">
        {aliases.map((alias) => (
          <li key={alias.name}>
            <b>{alias.name}</b> {versionOf(models, alias.model)}
            <span class="end quiet">
              since <When time={alias.moved_at} />
            </span>
            {alias.name === "champion" && canRollBack && <RollBack product={product} changed={changed} />}
          </li>
        ))}
      </ul>
      <p class="help">
        The champion answers predictions of the product. Other names stand for what you point them at.
      </p>
    </section>
  );
}

const VERDICTS: Record<Schemas["Comparison"]["verdict"], string> = {
  better: "better",
  worse: "worse",
  no_difference_shown: "no difference shown",
  too_few_images: "too few images to tell",
};

interface BoardProps {
  board: Schemas["Leaderboard"];
  models: Schemas["Model"][];
  changed: () => void;
}

function Board({ board, models, changed }: BoardProps) {
  return (
    <section class="card">
      <h2>All on the same images</h2>
      <p>
        {board.common_images > 0
          ? `${count(board.common_images, "test image")} that all of them with a place were tested on and none learned from.`
          : "They share no test images, so no model is known to be better than another."}
      </p>
      <div class="scroll" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th class="number">place</th>
              <th>model</th>
              <th>on the common images</th>
              <th>on its own test images</th>
              <th>against the champion</th>
              <th>made</th>
              <td />
            </tr>
          </thead>
          <tbody>
            {board.models.map((entry) => {
              const model = models.find(({ id }) => id === entry.model);
              return (
                <tr key={entry.model}>
                  <td class="number">{entry.place ?? "–"}</td>
                  <td>
                    <a href={page(`/jobs/${entry.job}`)}>Version {entry.version}</a>{" "}
                    {entry.aliases.map((alias) => (
                      <b key={alias}>{alias} </b>
                    ))}
                    <br />
                    <span class="quiet small">{entry.network}</span>
                    {!entry.passed_gate && <span class="quiet small">, did not pass its gate</span>}
                  </td>
                  <td>{entry.common ? <Share of={entry.common} /> : "–"}</td>
                  <td>
                    <Share of={entry.accuracy} items={entry.items} />
                  </td>
                  <td>{entry.against_champion ? <Verdict of={entry.against_champion} /> : "–"}</td>
                  <td>
                    <When time={entry.created_at} />
                  </td>
                  <td>
                    {model && !entry.aliases.includes("champion") && (
                      <PromoteModel model={model} changed={changed} isSmall />
                    )}
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Verdict({ of }: { of: Schemas["Comparison"] }) {
  return (
    <>
      {VERDICTS[of.verdict]}
      <br />
      <span class="quiet small">
        {of.only_this_right} only it had right, {of.only_other_right} only the champion, p ={" "}
        {decimal(of.p_value, 2)}
      </span>
    </>
  );
}

function History({ moves, models }: { moves: Schemas["AliasMove"][]; models: Schemas["Model"][] }) {
  return (
    <section class="card">
      <h2>What moved the champion</h2>
      <ul class="links">
        {moves.map((move) => (
          <li key={move.id}>
            <span>
              {move.is_rollback ? "Rolled back" : move.moved_by ? "A training's end" : "By hand"}:{" "}
              {versionOf(models, move.from_model)} → {versionOf(models, move.to_model)}
              {move.is_override && ", although it did not pass its gate"}
            </span>
            <span class="end quiet">
              <When time={move.moved_at} />
            </span>
            {move.reason && <span class="quiet small">{move.reason}</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}
