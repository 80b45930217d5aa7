import { file, page, type Schemas } from "../api/client";
import { Found, type Level } from "./found";
import type { Report } from "./imported";
import { count } from "./numbers";

interface Props {
  dataset: Schemas["Dataset"];
  report: Report | undefined;
  examination: Schemas["ExaminationReport"] | undefined;
}

interface Shown {
  item: string;
  name: string;
  label: string;
  /** The class that it looks like, where that is another one. */
  suggested?: string;
}

/** Something to act upon, from the import's report or from the examination. */
interface Finding {
  level: Level;
  words: string;
  advice: string;
  images: Shown[];
  /** How many images are concerned, of which `images` are the first. */
  number: number;
  /** Files that are no images of the dataset: name and reason. */
  files?: { name: string; reason: string }[];
}

const RANK: Record<Level, number> = { error: 0, warning: 1, note: 2 };

/** What is wrong with a dataset, the worst first, with pictures. */
export function Findings({ dataset, report, examination }: Props) {
  const found = [...ofExamination(examination), ...ofReport(report, examination !== undefined)].sort(
    (a, b) => RANK[a.level] - RANK[b.level],
  );
  const advice = report?.advice ?? [];
  return (
    <>
      <h2>{found.length > 0 ? "What to look at, the worst first" : "Nothing stands out"}</h2>
      {found.length === 0 && (
        <p class="quiet">
          Every file is an image that can be read, no image is there twice
          {examination && !examination.missing && ", and no label looks wrong"}.
        </p>
      )}
      <div class="founds">
        {found.map((finding) => (
          <Card key={finding.words} finding={finding} dataset={dataset.id} />
        ))}
      </div>
      {(examination === undefined || examination.missing) && (
        <p class="quiet">
          {examination?.missing ?? "Nothing has looked at what the images show: no label was judged."}
        </p>
      )}
      {advice.length > 0 && (
        <details>
          <summary>All that the import advises ({advice.length})</summary>
          <ul class="paths">
            {advice.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function ofExamination(examination: Schemas["ExaminationReport"] | undefined): Finding[] {
  const suggested = new Map(examination?.suspects.map((one) => [one.item, one.suggested]));
  return (examination?.diagnoses ?? []).map(({ code, level, finding, advice, images, number }) => ({
    level,
    words: finding,
    advice,
    images: images.map((image) => ({
      ...image,
      suggested: code === "suspect_labels" ? suggested.get(image.item) : undefined,
    })),
    number,
  }));
}

function ofReport(report: Report | undefined, isExamined: boolean): Finding[] {
  if (report === undefined) return [];
  const { totals, corrupt, skipped, odd_names, copies = [] } = report;
  const found: Finding[] = [];
  const note = (
    number: number | undefined,
    finding: Partial<Finding> & { words: string; advice: string },
  ) => {
    if (number) found.push({ level: "note", images: [], number, ...finding });
  };
  note(totals.corrupt, {
    level: "warning",
    words: `${count(totals.corrupt ?? 0, "image")} could not be read`,
    advice: "What cannot be read is left out. Replace or remove it.",
    files: corrupt,
  });
  const isOfOne = ({ images }: { images: Shown[] }) => new Set(images.map(({ label }) => label)).size === 1;
  const twice = copies.filter(isOfOne);
  // An examination finds them too, and more.
  if (!isExamined)
    note(totals.conflicting_labels, {
      level: "error",
      words: `${count(totals.conflicting_labels ?? 0, "image lies", "images lie")} in more than one class`,
      advice: "Decide on one label for each: one of them is wrong, and teaches and tests the wrong thing.",
      images: copies.filter((group) => !isOfOne(group)).flatMap(({ images }) => images),
    });
  note(twice.length, {
    words: `${count(twice.length, "image is", "images are")} there more than once`,
    advice: "Copies stay in one split and add nothing.",
    images: twice.flatMap(({ images }) => images),
    number: twice.reduce((all, { number }) => all + number, 0),
  });
  note(totals.odd_names, {
    words: `${count(totals.odd_names ?? 0, "name is", "names are")} odd`,
    advice: "No image is lost; some have another name now.",
    files: odd_names,
  });
  note(totals.skipped, {
    words: `${count(totals.skipped ?? 0, "file was", "files were")} skipped`,
    advice: "What is no image of a class is skipped.",
    files: skipped,
  });
  return found;
}

const SHOWN = 12;
const LISTED = 200;

function Card({ finding, dataset }: { finding: Finding; dataset: string }) {
  const { words, advice, images, number, files = [], level } = finding;
  return (
    <Found level={level} words={words} advice={advice}>
      {images.length > 0 && (
        <ul class="finding-pictures">
          {images.slice(0, SHOWN).map(({ item, name, label, suggested }) => (
            <li key={item}>
              <figure>
                <img
                  src={file(`/datasets/${dataset}/items/${item}/image?size=160`)}
                  alt={name}
                  loading="lazy"
                  width="160"
                  height="120"
                />
                <figcaption>
                  {label}
                  {suggested && `, looks like ${suggested}`}
                </figcaption>
              </figure>
            </li>
          ))}
        </ul>
      )}
      {number > SHOWN && images.length > 0 && (
        <p class="quiet">
          The first {SHOWN} of {count(number, "image")}.{" "}
          <a href={page(`/datasets/${dataset}`)}>Look at all in the dataset</a>
        </p>
      )}
      {files.length > 0 && (
        <details>
          <summary>
            Which ({files.length < number ? `the first ${files.length} of ` : ""}
            {number.toLocaleString("en")})
          </summary>
          <ul class="paths">
            {files.slice(0, LISTED).map(({ name, reason }) => (
              <li key={name}>
                <b>{name}</b> {reason}
              </li>
            ))}
          </ul>
        </details>
      )}
    </Found>
  );
}
