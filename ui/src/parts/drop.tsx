import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

interface Props {
  words: string;
  button: string;
  accept?: string;
  hasCamera?: boolean;
  isMultiple?: boolean;
  /** Words of a second button, which takes whole folders. */
  folderButton?: string;
  isDisabled?: boolean;
  onFiles: (files: File[]) => void;
  /** What was dropped, where folders may be among it; without it, its files are taken. */
  onDropped?: (transfer: DataTransfer) => void;
  children?: ComponentChildren;
}

/** Where files are dropped, chosen with a button, pasted, or taken with a tablet's camera. */
export function Drop({
  words,
  button,
  accept,
  hasCamera,
  isMultiple,
  folderButton,
  isDisabled,
  onFiles,
  onDropped,
  children,
}: Props) {
  const [isOver, setOver] = useState(false);
  const take = (list: FileList | null | undefined) => {
    const files = [...(list ?? [])];
    if (files.length > 0 && !isDisabled) onFiles(files);
  };
  return (
    <section
      class={isOver ? "drop over" : "drop"}
      aria-label={words}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        if (onDropped && event.dataTransfer && !isDisabled) onDropped(event.dataTransfer);
        else take(event.dataTransfer?.files);
      }}
      onPaste={(event) => take(event.clipboardData?.files)}
    >
      {children}
      <p class="quiet">{words}</p>
      <div class="row">
        <Choose words={button} accept={accept} isMultiple={isMultiple} isDisabled={isDisabled} take={take} />
        {folderButton && <Choose words={folderButton} isFolder isDisabled={isDisabled} take={take} />}
        {hasCamera && isTouch() && (
          <Choose words="Photograph" accept="image/*" isCamera isDisabled={isDisabled} take={take} />
        )}
      </div>
    </section>
  );
}

function isTouch(): boolean {
  return matchMedia("(pointer: coarse)").matches;
}

interface ChooseProps {
  words: string;
  accept?: string;
  isMultiple?: boolean;
  isCamera?: boolean;
  isFolder?: boolean;
  isDisabled?: boolean;
  take: (files: FileList | null) => void;
}

function Choose({ words, accept, isMultiple, isCamera, isFolder, isDisabled, take }: ChooseProps) {
  return (
    <label class="button">
      {words}
      <input
        type="file"
        accept={accept}
        multiple={isMultiple}
        ref={(element) => {
          if (element) element.webkitdirectory = isFolder === true;
        }}
        capture={isCamera ? "environment" : undefined}
        disabled={isDisabled}
        onChange={(event) => {
          take(event.currentTarget.files);
          // The same file may be chosen once more.
          event.currentTarget.value = "";
        }}
      />
    </label>
  );
}
