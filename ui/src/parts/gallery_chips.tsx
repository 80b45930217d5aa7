import type { Schemas } from "../api/client";
import { Picture } from "./gallery";
import { type Filter, FLAG_WORDS, FLAGS, type Flag, isFiltered } from "./gallery_filter";

/** Classes up to this number have a chip each; more are chosen from a list. */
const MOST_CHIPS = 12;
const SPLITS = ["train", "valid", "test"] as const;

interface Props {
  dataset: Schemas["Dataset"];
  /** Trainings on it whose split can be shown. */
  trainings: Schemas["Job"][];
  /** How many images each flag leaves; what leaves none is not offered. */
  flagged: Partial<Record<Flag, number>>;
  filter: Filter;
  /** The address of another filter. */
  href: (filter: Filter) => string;
  route: (address: string) => void;
}

/** What the gallery shows, as links: each leads to an address that can be kept or sent. */
export function GalleryChips({ dataset, trainings, flagged, filter, href, route }: Props) {
  const { classes } = dataset;
  const chosen = filter.label ?? [];
  const withLabel = (name: string): Filter => ({
    ...filter,
    label: chosen.includes(name) ? nothingIfEmpty(chosen.filter((one) => one !== name)) : [...chosen, name],
  });
  const withFlag = (flag: Flag): Filter => ({
    ...filter,
    flags: filter.flags.includes(flag) ? filter.flags.filter((one) => one !== flag) : [...filter.flags, flag],
  });
  const hasSplits = dataset.counts !== null || filter.job !== undefined;
  return (
    <div class="chips">
      {classes.length <= MOST_CHIPS ? (
        <ul aria-label="Classes">
          {classes.map(({ name, count }, number) => (
            <Chip key={name} href={href(withLabel(name))} isOn={chosen.includes(name)} count={count}>
              {number < 9 && <kbd>{number + 1}</kbd>} {name}
            </Chip>
          ))}
        </ul>
      ) : (
        <label class="chips-choice">
          Class
          <select
            value={chosen[0] ?? ""}
            onChange={({ currentTarget: { value } }) =>
              route(href({ ...filter, label: value ? [value] : undefined }))
            }
          >
            <option value="">all {classes.length}</option>
            {classes.map(({ name, count }) => (
              <option key={name} value={name}>
                {name} ({count.toLocaleString("en")})
              </option>
            ))}
          </select>
        </label>
      )}
      <ul aria-label="What to look at">
        {FLAGS.filter((flag) => flagged[flag] || filter.flags.includes(flag)).map((flag) => (
          <Chip
            key={flag}
            href={href(withFlag(flag))}
            isOn={filter.flags.includes(flag)}
            count={flagged[flag]}
          >
            {FLAG_WORDS[flag]}
          </Chip>
        ))}
      </ul>
      <div class="row">
        {trainings.length > 0 && (
          <label class="chips-choice">
            Split of
            <select
              value={filter.job ?? ""}
              onChange={({ currentTarget: { value } }) =>
                route(href({ ...filter, job: value || undefined, split: undefined }))
              }
            >
              <option value="">{dataset.counts ? "the folders" : "no training"}</option>
              {trainings.map((job) => (
                <option key={job.id} value={job.id}>
                  {job.network} of {new Date(job.created_at).toLocaleString()}
                </option>
              ))}
            </select>
          </label>
        )}
        {hasSplits && (
          <ul aria-label="Splits">
            {SPLITS.map((split) => (
              <Chip
                key={split}
                href={href({ ...filter, split: filter.split === split ? undefined : split })}
                isOn={filter.split === split}
                count={filter.job ? undefined : dataset.counts?.[split]}
              >
                {split}
              </Chip>
            ))}
          </ul>
        )}
      </div>
      <ul aria-label="Chosen">
        {filter.similar_to && (
          <Chip href={href({ ...filter, similar_to: undefined })} isOn>
            like{" "}
            <Picture
              dataset={dataset.id}
              item={{ id: filter.similar_to, width: 99, height: 99 }}
              longest={44}
            />
          </Chip>
        )}
        {filter.near_group && (
          <Chip href={href({ ...filter, near_group: undefined })} isOn>
            shows the same as{" "}
            <Picture
              dataset={dataset.id}
              item={{ id: filter.near_group, width: 99, height: 99 }}
              longest={44}
            />
          </Chip>
        )}
        {filter.group && (
          <Chip href={href({ ...filter, group: undefined })} isOn>
            group {filter.group}
          </Chip>
        )}
        {filter.item && (
          <Chip href={href({ ...filter, item: undefined })} isOn count={filter.item.length}>
            images of a finding
          </Chip>
        )}
        {isFiltered(filter) && (
          <li>
            <a class="chip" href={href({ job: filter.job, flags: [] })}>
              Show all
            </a>
          </li>
        )}
      </ul>
    </div>
  );
}

interface ChipProps {
  href: string;
  isOn?: boolean;
  count?: number | undefined;
  children: preact.ComponentChildren;
}

function Chip({ href, isOn = false, count, children }: ChipProps) {
  return (
    <li>
      <a class="chip" href={href} aria-current={isOn ? "true" : undefined}>
        {isOn && <span aria-hidden="true">✓</span>}
        <span>{children}</span>
        {count !== undefined && <span class="chip-count">{count.toLocaleString("en")}</span>}
        {isOn && <span class="hidden">shown, take it away</span>}
      </a>
    </li>
  );
}

function nothingIfEmpty<T>(list: T[]): T[] | undefined {
  return list.length > 0 ? list : undefined;
}
