import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.Scanner;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.Utils;

/** Reads keys in Base64, one a line; writes the partition of each and its murmur2 hash. */
class Partition {
    public static void main(String[] arguments) {
        int partitions = Integer.parseInt(arguments[0]);
        Scanner lines = new Scanner(System.in, StandardCharsets.US_ASCII);
        while (lines.hasNextLine()) {
            byte[] key = Base64.getDecoder().decode(lines.nextLine());
            int partition = BuiltInPartitioner.partitionForKey(key, partitions);
            System.out.println(partition + " " + Utils.murmur2(key));
        }
    }
}
