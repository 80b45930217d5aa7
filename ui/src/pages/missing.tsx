import { page } from "../api/client";
import { Empty } from "../parts/empty";
import { Page } from "../parts/page";

export default function Missing() {
  return (
    <Page
      title="There is no such page"
      curl={[{ what: "All routes of the API", curl: "{api}/openapi.json" }]}
    >
      <Empty title="Nothing stands at this address.">
        <a class="button main" href={page("")}>
          To the products
        </a>
      </Empty>
    </Page>
  );
}
